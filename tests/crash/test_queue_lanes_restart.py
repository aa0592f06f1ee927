"""Messages that were worked on at once when their worker ended, and then their broker did."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_harness import Scene
from tests.crash.queue_workers import Start, crews, letters, put
from workers import Consumer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make a scene and a crew for it."""
    yield from crews(tmp_path)


class PoisonedThreads(Consumer):
    """Waits for ever at first; then says whether two were at work at once, and ends over one."""

    threads = 4
    scene: Scene

    def init(self) -> None:
        """Prepare."""
        self.two = threading.Barrier(2)

    def handle(self, message: int) -> None:
        """Handle one."""
        if self.attempt == 1:
            self.scene.report(message)
            threading.Event().wait()
        together = False
        with contextlib.suppress(threading.BrokenBarrierError):
            self.two.wait(0.2)
            together = True
        self.two.reset()
        self.scene.report(message, together)
        if message == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def test_the_innocent_are_not_buried_with_the_one_after_a_restart(start: Start) -> None:
    """A broker that has only its store singles out who ends the workers, as the one before."""
    scene, crew = start(durable="full", max_attempts=2)
    PoisonedThreads.scene = scene
    put(scene, 0, 1, 2, 3)
    first = crew.start(PoisonedThreads)
    assert sorted(scene.reports.take(4)) == [[0], [1], [2], [3]]
    scene.kill(first.pid)
    scene.until(leased=0, redelivered_total=4)
    put(scene, 4)  # what was before it is in the store when it is confirmed
    scene.kill(scene.broker)
    scene.start_broker()
    second = crew.start(PoisonedThreads, 2)
    assert scene.ended(second.pid) == -signal.SIGKILL
    scene.until(leased=0)
    crew.start(PoisonedThreads, 3)
    assert sorted(scene.reports.take(5)) == [[n, 0] for n in range(5)]
    scene.until(depth=0)
    assert [letter["message"] for letter in letters(scene)] == [b"\0"]
