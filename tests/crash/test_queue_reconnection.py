"""Who waits for a broker that is replaced meanwhile goes on with the next one."""

import asyncio
import select
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from supervisor.link import install
from tests.crash.queue_workers import Start, crews, managed, put
from workers import AsyncQueueWriter, Consumer, Producer, QueueWriter, Worker, open_queue
from workers.queues.frames import Command

PATIENCE = 10.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a broker, and what starts workers around it."""
    yield from crews(tmp_path)


@pytest.mark.parametrize("bystander", [False, True])
def test_all_tasks_that_wait_go_on_with_the_next_broker(start: Start, bystander: bool) -> None:
    """Though the next connection has the number of the last one, and whoever sees its end first."""
    scene, _ = start(capacity=1)

    async def work() -> None:
        plain = QueueWriter("q", scene.path)
        writer = AsyncQueueWriter(plain)
        await writer.put(0, confirm=True)
        waiting = [
            asyncio.ensure_future(writer.put(number, confirm=True)) for number in range(1, 4)
        ]
        while not scene.stat()["blocked"]:
            await asyncio.sleep(0.001)
        scene.kill(scene.broker)
        scene.start_broker()  # while this loop stands still
        if bystander:
            plain.has_room()
        scene.consumer()
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)
        plain.close()

    asyncio.run(work())


def test_a_call_is_made_to_the_next_broker(start: Start) -> None:
    """Who finds only now that the last one is gone: nobody can have the call yet."""
    scene, crew = start()

    class Answers(Consumer):
        def handle(self, message: int) -> int:
            return message + 1

    crew.start(Answers)
    with QueueWriter("q", scene.path) as writer:
        assert writer.call(1, timeout=PATIENCE) == 2
        scene.kill(scene.broker)
        scene.start_broker()
        assert writer.call(2, timeout=PATIENCE) == 3


class Handles(Consumer):
    """Handles what comes."""

    def handle(self, message: int) -> None:
        """Take it."""


class HandlesMany(Consumer):
    """Handles what comes in batches."""

    def handle_many(self, batch: list[int]) -> None:
        """Take them."""


class HandlesAtOnce(Consumer):
    """Handles what comes in threads."""

    threads = 2

    def handle(self, message: int) -> None:
        """Take it."""


class HandlesInTasks(Consumer):
    """Handles what comes in tasks."""

    async def handle(self, message: int) -> None:
        """Take it."""


class Puts(Producer):
    """Puts, confirmed, for ever."""

    def run(self) -> None:
        """Put."""
        while True:
            self.put(1, confirm=True)
            self.link.beat(self._puts)


@pytest.mark.parametrize("worker", [Handles, HandlesMany, HandlesAtOnce, HandlesInTasks, Puts])
def test_who_waits_for_the_next_broker_beats(start: Start, worker: type[Worker]) -> None:
    """Who has a heartbeat is not ended for it: its work loop lives, and has nothing to do."""
    scene, crew = start(overflow="drop_oldest")
    running = crew.start(worker, heartbeat=0.1)
    beats = running.beats()
    next(beats)
    scene.kill(scene.broker)
    running.drain()
    assert len(list(islice((beat for beat in beats if beat.idle), 10))) == 10
    scene.start_broker()
    scene.until(consumers=0 if worker is Puts else 1)
    assert scene.alive(running.pid)


class PassesOn(Consumer):
    """Puts another message into its own queue, where there is no room as long as it has one."""

    prefetch = 1

    def connect(self) -> None:
        """Open it."""
        super().connect()
        install(self.link)
        self.onward = open_queue("q")

    def handle(self, message: int) -> None:
        """Put what follows on the first one."""
        if message == 1:
            self.onward.put(3, confirm=True)


class PassesManyOn(PassesOn):
    """Does the same in batches."""

    def handle_many(self, batch: list[int]) -> None:
        """Put what follows on the first one."""
        for message in batch:
            PassesOn.handle(self, message)


class PassesOnInATask(PassesOn):
    """Does the same in tasks."""

    concurrency = 1

    async def handle(self, message: int) -> None:  # type: ignore[override]
        """Put what follows on the first one."""
        if message == 1:
            await AsyncQueueWriter(self.onward).put(3, confirm=True)


@pytest.mark.parametrize("worker", [PassesOn, PassesManyOn, PassesOnInATask])
def test_a_handler_that_is_held_back_beats(start: Start, worker: type[PassesOn]) -> None:
    """It puts into a queue that is full for long: its message must not be charged with that."""
    scene, crew = start(capacity=2)
    put(scene, 1, 2)
    running = crew.start(worker, heartbeat=0.1)
    scene.until(blocked=1)
    running.drain()
    beats = running.beats()
    assert len(list(islice((beat for beat in beats if beat.idle), 10))) == 10
    managed(scene, Command("purge", "q"))  # the other one that waits
    scene.until(depth=0, settled_total=2)
    assert next(beat for beat in beats if beat.progress == 2)


class PassesOnInThreads(PassesOn):
    """Does the same in threads, and hangs over the second message."""

    threads = prefetch = 2

    def handle(self, message: int) -> None:
        """Hang, or put what follows on the first one."""
        if message == 2:
            threading.Event().wait()
        super().handle(message)


def test_threads_that_are_held_back_beat(start: Start) -> None:
    """All that are at work wait for room: the worker does not hang."""
    scene, crew = start(capacity=3)
    put(scene, 1, 1, 3)
    running = crew.start(PassesOnInThreads, heartbeat=0.1)
    beats = running.beats()
    next(beats)
    scene.until(blocked=1)  # one waits, and the other one for that
    running.drain()
    assert len(list(islice((beat for beat in beats if beat.idle), 10))) == 10
    managed(scene, Command("purge", "q"))  # what has not begun
    scene.until(depth=0, settled_total=4)
    assert next(beat for beat in beats if beat.progress == 4)


def test_a_thread_that_is_held_back_hides_no_other_that_hangs(start: Start) -> None:
    """The worker is silent, so that it is ended, and both messages are handled elsewhere."""
    scene, crew = start(capacity=2)
    put(scene, 1, 2)
    running = crew.start(PassesOnInThreads, heartbeat=0.1)
    next(running.beats())
    scene.until(blocked=1)
    running.drain()
    assert not select.select([running.link], [], [], 0.5)[0]


def test_a_beat_of_who_waits_is_no_progress(start: Start) -> None:
    """A beat of who waits says the progress that was said last: it is none by itself."""
    scene, crew = start()
    running = crew.start(Handles, heartbeat=0.1)
    beats = running.beats()
    with QueueWriter("q", scene.path) as writer:
        writer.put(1, confirm=True)
    next(beat for beat in beats if beat.progress == 1)
    scene.kill(scene.broker)
    assert {beat.progress for beat in islice(beats, 5)} == {1}
