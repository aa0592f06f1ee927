"""Messages that are worked on at once, in threads and as coroutines."""

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from supervisor.link import StopRequest
from tests.crash.queue_harness import Scene
from tests.crash.queue_workers import Start, crews, letters, put
from workers import Consumer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make a scene and a crew for it."""
    yield from crews(tmp_path)


class Threaded(Consumer):
    """Four threads that meet: none goes on before all are there."""

    threads = 4
    scene: Scene

    def init(self) -> None:
        """Prepare."""
        self.barrier = threading.Barrier(4)

    def handle(self, message: int) -> None:
        """Handle one."""
        self.barrier.wait(10)
        self.scene.report(message, self.attempt)


class Tasks(Consumer):
    """Four tasks that meet."""

    concurrency = 4
    scene: Scene
    there = 0

    async def handle(self, message: int) -> None:
        """Handle one."""
        self.there += 1
        while self.there % 4:
            await asyncio.sleep(0)
        self.scene.report(message, self.attempt)


@pytest.mark.parametrize("worker", [Threaded, Tasks])
def test_lanes_work_at_once(start: Start, worker: type[Consumer]) -> None:
    """So many messages as there are lanes are handled at the same time, and all in the end."""
    scene, crew = start()
    worker.scene = scene  # type: ignore[attr-defined]
    put(scene, *range(40))
    running = crew.start(worker)
    assert sorted(line[0] for line in scene.reports.take(40)) == list(range(40))
    scene.until(depth=0, settled_total=40)
    os.kill(running.pid, signal.SIGTERM)
    assert scene.ended(running.pid) == 0


class StuckThreads(Consumer):
    """Three threads that say what they have, and wait for ever."""

    threads = 3
    scene: Scene

    def handle(self, message: int) -> None:
        """Handle one."""
        self.scene.report(message, self.attempt)
        threading.Event().wait()


class StuckTasks(Consumer):
    """Three tasks that do."""

    concurrency = 3
    scene: Scene

    async def handle(self, message: int) -> None:
        """Handle one."""
        self.scene.report(message, self.attempt)
        await asyncio.Event().wait()


@pytest.mark.parametrize("worker", [StuckThreads, StuckTasks])
def test_only_what_lanes_worked_on_is_blamed(start: Start, worker: type[Consumer]) -> None:
    """After a SIGKILL the messages of the lanes come again as suspects, those sent ahead do not."""
    scene, crew = start()
    worker.scene = scene  # type: ignore[attr-defined]
    put(scene, *range(10))
    running = crew.start(worker)
    assert sorted(scene.reports.take(3)) == [[0, 1], [1, 1], [2, 1]]
    scene.kill(running.pid)
    scene.until(leased=0, redelivered_total=3)
    scene.consumer()
    lines = sorted(line[:2] for line in scene.reports.take(10))
    assert lines == [[n, 2] for n in range(3)] + [[n, 1] for n in range(3, 10)]


class CancelledTasks(Consumer):
    """Waits for a task that was cancelled: the error of that is raised in the handler."""

    concurrency = 1
    on_error = "retry"
    scene: Scene

    async def handle(self, message: int) -> None:
        """Handle one."""
        self.scene.report(message, self.attempt)
        if message == 0 and self.attempt == 1:
            other = asyncio.ensure_future(asyncio.sleep(60))
            other.cancel()
            await other


class SelfCancelledTasks(CancelledTasks):
    """Cancels the task that it is."""

    async def handle(self, message: int) -> None:
        """Handle one."""
        self.scene.report(message, self.attempt)
        if message == 0 and self.attempt == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)


@pytest.mark.parametrize("tasks", [CancelledTasks, SelfCancelledTasks])
def test_a_handler_whose_task_was_cancelled_gives_its_lane_back(
    start: Start, tasks: type[CancelledTasks]
) -> None:
    """It is an error as any other: the message comes again, and the only lane goes on."""
    scene, crew = start()
    tasks.scene = scene
    put(scene, 0, 1)
    running = crew.start(tasks)
    assert sorted(scene.reports.take(3)) == [[0, 1], [0, 2], [1, 1]]
    scene.until(depth=0, retried_total=1)
    os.kill(running.pid, signal.SIGTERM)
    assert scene.ended(running.pid) == 0


class LastThreads(Consumer):
    """One lane is done as soon as a stop is asked for, the other one takes a while longer."""

    threads = 2
    scene: Scene

    def handle(self, message: int) -> None:
        """Handle one."""
        self.scene.report(message)
        while not self.link.interrupted:
            select.select([], [], [], 0.005)
        if message:
            select.select([], [], [], 1.0)

    def terminate(self) -> None:
        """Say what it took."""
        self.scene.report(int(time.process_time() * 1000))


def test_who_waits_for_the_last_lane_sleeps(start: Start) -> None:
    """A lane that is done when all are to stop wakes the others' keeper once, not for ever."""
    scene, crew = start()
    LastThreads.scene = scene
    put(scene, 0, 1)
    running = crew.start(LastThreads)
    assert sorted(scene.reports.take(2)) == [[0], [1]]
    running.link.send(msgspec.msgpack.encode(StopRequest(5.0)))
    ((milliseconds,),) = scene.reports.take(1)
    assert milliseconds < 300
    assert scene.ended(running.pid) == 0


class FailingThreads(Consumer):
    """Raises on one message."""

    threads = 2
    scene: Scene

    def handle(self, message: int) -> None:
        """Handle one."""
        self.scene.report(message, self.attempt)
        if message == 3:
            raise ZeroDivisionError


class FailingTasks(FailingThreads):
    """As coroutines."""

    concurrency = 2

    async def handle(self, message: int) -> None:  # type: ignore[override]
        """Handle one."""
        self.scene.report(message, self.attempt)
        if message == 3:
            raise ZeroDivisionError


@pytest.mark.parametrize("worker", [FailingThreads, FailingTasks])
def test_an_exception_in_a_lane_crashes_the_worker(start: Start, worker: type[Consumer]) -> None:
    """The process ends with the error, after the other lanes have ended; nothing is lost."""
    scene, crew = start(max_attempts=1)
    worker.scene = scene  # type: ignore[attr-defined]
    put(scene, *range(6))
    assert scene.ended(crew.start(worker).pid) == 1
    scene.until(leased=0, dead=1)
    assert letters(scene)[0]["error"].startswith("ZeroDivisionError")
    scene.until(redelivered_total=0)
