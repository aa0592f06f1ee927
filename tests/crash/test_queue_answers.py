"""Calls over real sockets: their results, their errors, and what becomes of those given up."""

import asyncio
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.queue_harness import PATIENCE, Scene
from tests.crash.queue_workers import Start, crews
from workers import (
    AsyncQueueWriter,
    CallFailed,
    CallTimeout,
    Consumer,
)
from workers.queues.client.writer import QueueWriter
from workers.queues.errors import Reject
from workers.queues.frames import MAX_BODY


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make a scene and a crew for it."""
    yield from crews(tmp_path)


class Clerk(Consumer):
    """Answers calls: doubles numbers, and has opinions on some."""

    scene: Scene

    def handle(self, message: int) -> Any:
        """Double it."""
        self.scene.report(message, self.attempt)
        if message == 13:
            raise ZeroDivisionError("thirteen")
        if message == 14:
            raise Reject("not fourteen")
        if message == 16:
            raise OSError(f"no such file: {os.fsdecode(b'caf' + bytes([0xE9]))}")
        if message == 17:
            return "x" * (2 * MAX_BODY)
        if message == 18:
            return 1 << 70
        if message == 15:
            select.select([], [], [], PATIENCE)
        return 2 * message


class TwoThreads(Clerk):
    """By two threads."""

    threads = 2
    on_error = "retry"


class AsyncClerk(Clerk):
    """As coroutines, two at once."""

    concurrency = 2
    on_error = "retry"

    async def handle(self, message: int) -> Any:  # type: ignore[override]
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


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (16, r"OSError: no such file: caf\\udce9"),
        (17, "MessageTooLarge"),
        (18, "OverflowError"),
    ],
)
@pytest.mark.parametrize("clerk", [AsyncClerk, TwoThreads])
def test_an_answer_that_cannot_be_sent_is_an_error(
    start: Start, clerk: type[Clerk], message: int, error: str
) -> None:
    """A result too large, an error with bytes of a file's name: the caller is told, each time.

    More often than there are lanes: each is given back.
    """
    scene, crew = start()
    clerk.scene = scene
    crew.start(clerk)
    with QueueWriter("q", scene.path) as writer:
        for _ in range(3):
            with pytest.raises(CallFailed, match=error):
                writer.call(message, timeout=10)
        assert writer.call(1, timeout=10) == 2
    assert scene.reports.take(4) == [[message, 1]] * 3 + [[1, 1]]


def test_threads_that_have_called_leave_no_connection(start: Start) -> None:
    """Each thread that calls has a connection; that of one that has ended is closed by the next."""
    scene, crew = start()
    Clerk.scene = scene
    crew.start(Clerk)
    with QueueWriter("q", scene.path) as writer:
        open_before = len(os.listdir("/proc/self/fd"))
        for number in range(20):
            thread = threading.Thread(
                target=writer.call, args=(number % 10,), kwargs={"timeout": 10}
            )
            thread.start()
            thread.join()
        assert len(os.listdir("/proc/self/fd")) <= open_before + 4


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


def test_cancelled_tasks_take_their_calls_back(start: Start) -> None:
    """More of them than there are threads, and nobody who answers: none is held for ever."""
    scene, crew = start()

    async def work() -> Any:
        with QueueWriter("q", scene.path) as plain:
            writer = AsyncQueueWriter(plain)
            calls = [asyncio.ensure_future(writer.call(number)) for number in range(50)]
            while not scene.stat()["calls"]:
                await asyncio.sleep(0.001)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            scene.until(depth=0, calls=0)
            Clerk.scene = scene
            crew.start(Clerk)
            return await writer.call(1, timeout=PATIENCE)

    assert asyncio.run(work()) == 2
    assert scene.reports.take(1) == [[1, 1]]


def test_a_call_dies_with_its_caller(start: Start) -> None:
    """What a SIGKILLed caller waited for is taken back."""
    scene, _ = start()

    def call() -> None:
        QueueWriter("q", scene.path).call(1)

    caller = scene.fork(call)
    scene.until(calls=1)
    scene.kill(caller)
    scene.until(depth=0, calls=0)
