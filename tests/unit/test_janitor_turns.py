"""When the janitor runs what: by the clock, and after something has ended."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.channel import Channel
from supervisor.crashes.clerk import Clerk
from supervisor.crashes.feed import Feed
from supervisor.definition import RecyclerDefinition
from supervisor.janitor import janitor, leftovers
from supervisor.janitor.janitor import Janitor
from supervisor.janitor.journal import JOURNAL, TEMP
from supervisor.janitor.task import Outcome
from supervisor.link import Context, Nudge, StopRequest, ToWorker, WorkerLink

#: Runs of the recycler that serves as a clock.
A_WHILE = 8


class Life:
    """A janitor at work, in a thread; root is the test."""

    def __init__(self, directory: Path, outcome: Outcome) -> None:
        self._directory = str(directory)
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel: Channel[ToWorker] = Channel(self._ours, ToWorker)
        recyclers = [RecyclerDefinition(TEMP, every=600.0), RecyclerDefinition("clock", every=0.01)]
        functions = {TEMP: lambda: outcome, "clock": Outcome}
        self._feed = Feed()
        clerk = Clerk(self._feed.reader, self._directory, "app:tree")
        life = Janitor(self._directory, recyclers, functions, clerk)
        link = WorkerLink(self._theirs, Context("runtime/janitor", 1))
        self._thread = threading.Thread(target=life.run, args=(link,))
        self._thread.start()

    def runs(self, name: str = TEMP) -> int:
        """Count the runs of a recycler."""
        entries = JOURNAL.read(self._directory) or {}
        return entries[name].runs if name in entries else 0

    def turns(self) -> int:
        """Wait for a while; count the runs for what the dead have left."""
        until = self.runs("clock") + A_WHILE
        while self.runs("clock") < until:
            self._thread.join(0.01)
        return self.runs()

    def nudge(self) -> None:
        """Say that something has ended."""
        self._channel.send(Nudge())

    def close(self) -> None:
        """End it."""
        self._channel.send(StopRequest(0.0))
        self._thread.join()
        self._ours.close()
        self._theirs.close()
        self._feed.close()


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Outcome], Life]]:
    """Start janitors that look soon after an end: at once."""
    monkeypatch.setattr(janitor, "FIRST_AFTER", 0.0)
    monkeypatch.setattr(leftovers, "SOON", 0.0)
    lives: list[Life] = []

    def begin(outcome: Outcome) -> Life:
        lives.append(Life(tmp_path, outcome))
        return lives[-1]

    yield begin
    for life in lives:
        life.close()


def test_it_looks_for_leftovers_only_when_something_has_ended(
    live: Callable[[Outcome], Life],
) -> None:
    """Once at its start; then whenever root has said so."""
    life = live(Outcome())
    assert life.turns() == 1
    assert life.turns() == 1
    life.nudge()
    assert life.turns() == 2
    assert life.turns() == 2


@pytest.mark.parametrize("outcome", [Outcome(more=True), Outcome(problem="busy")])
def test_it_looks_again_soon_when_something_is_left(
    live: Callable[[Outcome], Life], outcome: Outcome
) -> None:
    """There was too much for once, or something could not be removed."""
    life = live(outcome)
    assert life.turns() < life.turns()


def test_an_end_after_the_nudge_is_not_forgotten(
    live: Callable[[Outcome], Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root says it once in a while: a look right after the nudge is not the last one."""
    life = live(Outcome())
    assert life.turns() == 1
    monkeypatch.setattr(leftovers, "SOON", 0.4)
    life.nudge()
    life.turns()
    life.nudge()  # for all that ends in the next while, and the look for the first comes too soon
    while life.runs() < 3:
        life.turns()
