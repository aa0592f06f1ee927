"""What signals from outside mean to root."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from supervisor.root import interrupts
from supervisor.root.interrupts import ECHO, Interrupts


@dataclass
class Root:
    """Notes what it is told to do, and has a clock that stands still."""

    done: list[str] = field(default_factory=list)
    now: float = 100.0
    reloads: list[Callable[[], None]] = field(default_factory=list)

    def interrupts(self) -> Interrupts:
        """Return what takes its signals."""
        stop, stop_now = (partial(self.done.append, what) for what in ("stop", "stop now"))
        return Interrupts(stop, stop_now, self.reload, lambda: self.now)

    def reload(self, over: Callable[[], None]) -> None:
        """Begin a reload."""
        self.done.append("reload")
        self.reloads.append(over)


def test_the_first_signal_stops_in_order_and_the_next_one_at_once() -> None:
    """Whichever they are; a person takes a moment between two of them."""
    root = Root()
    seen = root.interrupts()
    seen.arrived(signal.SIGTERM)
    root.now += ECHO
    seen.arrived(signal.SIGINT)
    assert root.done == ["stop", "stop now"]


def test_the_echo_of_a_signal_is_not_another_one() -> None:
    """A wrapper passes on the Ctrl-C that the terminal has sent to us as well."""
    root = Root()
    seen = root.interrupts()
    seen.arrived(signal.SIGINT)
    root.now += ECHO / 2
    seen.arrived(signal.SIGINT)
    assert root.done == ["stop"]
    root.now += ECHO
    seen.arrived(signal.SIGINT)
    assert root.done == ["stop", "stop now"]


@pytest.mark.parametrize(("terminal", "done"), [(True, "stop"), (False, "reload")])
def test_a_hangup_is_the_end_of_a_terminal_or_a_reload(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, done: str
) -> None:
    """SIGHUP, by whether there is a terminal that can hang up."""
    monkeypatch.setattr(interrupts, "has_terminal", lambda: terminal)
    root = Root()
    root.interrupts().hung_up()
    assert root.done == [done]


def test_many_hangups_are_one_reload_and_one_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said once while they are under way; the next one after that counts again."""
    said: list[str] = []
    monkeypatch.setattr(interrupts, "has_terminal", lambda: False)
    monkeypatch.setattr(interrupts, "say", said.append)
    root = Root()
    seen = root.interrupts()
    for _ in range(1000):
        seen.hung_up()
    assert (len(root.reloads), len(said)) == (2, 1)
    root.reloads[0]()
    for _ in range(1000):  # the code may have changed since the second one has begun
        seen.hung_up()
    assert (len(root.reloads), len(said)) == (3, 1)
    root.reloads[1]()
    root.reloads[2]()
    seen.hung_up()
    assert (len(root.reloads), len(said)) == (4, 2)
