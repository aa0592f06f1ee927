"""Calls over real sockets: their results, their errors, and what becomes of those given up."""

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_harness import PATIENCE, Scene
from tests.crash.queue_workers import Start, crews
from workers import (
    CallFailed,
    CallTimeout,
    Consumer,
)
from workers.queues.client.writer import QueueWriter
from workers.queues.errors import Reject


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make a scene and a crew for it."""
    yield from crews(tmp_path)


class Clerk(Consumer):
    """Answers calls: doubles numbers, and has opinions on some."""

    scene: Scene

    def handle(self, message: int) -> int:
        """Double it."""
        self.scene.report(message, self.attempt)
        if message == 13:
            raise ZeroDivisionError("thirteen")
        if message == 14:
            raise Reject("not fourteen")
        if message == 15:
            select.select([], [], [], PATIENCE)
        return 2 * message


class AsyncClerk(Clerk):
    """As coroutines."""

    on_error = "retry"

    async def handle(self, message: int) -> int:  # type: ignore[override]
        """Double it."""
        return super().handle(message)


@pytest.mark.parametrize("clerk", [Clerk, AsyncClerk])
def test_a_call_returns_what_its_handler_does(start: Start, clerk: type[Clerk]) -> None:
    """A call gets the result, or the error; the error ends the worker by its own policy."""
    scene, crew = start()
    clerk.scene = scene
    running = crew.start(clerk)
    with QueueWriter("q", scene.path) as writer:
        assert [writer.call(number, timeout=10) for number in range(5)] == [0, 2, 4, 6, 8]
        with pytest.raises(CallFailed, match="not fourteen"):
            writer.call(14, timeout=10)
        with pytest.raises(CallFailed, match="ZeroDivisionError: thirteen"):
            writer.call(13, timeout=10)
    if clerk is Clerk:
        assert scene.ended(running.pid) == 1
    scene.until(depth=0, calls=0)


def test_a_call_that_is_given_up_is_taken_back(start: Start) -> None:
    """A call that timed out before it was begun is not handled any more; others go on."""
    scene, crew = start()
    with QueueWriter("q", scene.path) as writer:
        with pytest.raises(CallTimeout):
            writer.call(1, timeout=0.05)
        scene.until(depth=0, calls=0)
        Clerk.scene = scene
        crew.start(Clerk)
        assert writer.call(2, timeout=10) == 4
    assert scene.reports.take(1) == [[2, 1]]


def test_a_call_dies_with_its_caller(start: Start) -> None:
    """What a SIGKILLed caller waited for is taken back."""
    scene, _ = start()

    def call() -> None:
        QueueWriter("q", scene.path).call(1)

    caller = scene.fork(call)
    scene.until(calls=1)
    scene.kill(caller)
    scene.until(depth=0, calls=0)
