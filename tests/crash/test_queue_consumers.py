"""What handlers can say and what becomes of it: one message at a time, and in batches."""

import math
import os
import re
import select
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.crash.queue_workers import Start, crews, letters, put
from workers import Batch, Consumer, Retry
from workers.queues.client.reader import Delivered, QueueReader
from workers.queues.client.writer import QueueWriter
from workers.queues.frames import Nack


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make a scene and a crew for it."""
    yield from crews(tmp_path)


def test_slow_messages_are_spread_over_idle_consumers(start: Start) -> None:
    """Eight messages that take a while and eight consumers: each handles one, round after round.

    Put one by one, and as one chunk, once it is known how long they take.
    """
    scene, crew = start()

    class Slow(Consumer):
        def connect(self) -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            super().connect()
            scene.report(0, os.getpid())

        def handle(self, message: int) -> None:
            scene.report(message, os.getpid())
            select.select([], [], [], 0.005)
            signal.sigwait({signal.SIGUSR1})

    for _ in range(8):
        crew.start(Slow)
    scene.reports.take(8)
    with QueueWriter("q", scene.path) as writer:
        for turn in range(6):
            scene.until(depth=0)
            if turn < 4:
                for number in range(8):
                    writer.put(number, confirm=True)
            else:
                writer.put_many(range(8), confirm=True)
            found = scene.reports.take(8)
            assert sorted(message for message, _ in found) == list(range(8))
            assert len({pid for _, pid in found}) == 8
            for _, pid in found:
                os.kill(pid, signal.SIGUSR1)


def test_what_the_producer_said_reaches_the_handler(start: Start) -> None:
    """Headers and the deadline of a put are the handler's; higher priorities come first."""
    scene, crew = start(priorities=3)

    class Look(Consumer):
        def handle(self, message: int) -> None:
            left = -1 if self.deadline is None else 1
            scene.report(message, left, len(self.headers.get("traceparent", "")))

    put(scene, 1)
    put(scene, 2, ttl=60, traceparent="00-a-b-01")
    put(scene, 3, priority=2)
    crew.start(Look)
    assert scene.reports.take(3) == [[3, -1, 0], [1, -1, 0], [2, 1, 9]]


def test_a_message_keeps_its_name(start: Start) -> None:
    """However often a message comes, and however its chunk was cut, its id is its own."""
    scene, crew = start(max_attempts=9)

    class Named(Consumer):
        def handle(self, message: int) -> None:
            scene.report(message, self.attempt, int(self.message_id.rpartition(":")[2]))
            if message % 3 >= self.attempt:
                self.nack(delay=0.0)
            if message == 8 and self.attempt == 3:
                os.kill(os.getpid(), signal.SIGKILL)

    with QueueWriter("q", scene.path) as writer:
        writer.put_many(range(10))
        writer.put_many(range(10, 20))
    assert scene.ended(crew.start(Named).pid) == -signal.SIGKILL
    crew.start(Named)
    scene.until(depth=0, settled_total=20)
    names: dict[int, set[int]] = {}
    for message, _attempt, name in scene.reports.lines():
        names.setdefault(message, set()).add(name)
    assert all(len(found) == 1 for found in names.values())
    assert len({name for found in names.values() for name in found}) == 20


def test_retry_and_reject_end_nobody(start: Start) -> None:
    """`Retry` brings a message back with one attempt more, `Reject` buries it, and others go on."""
    scene, crew = start()

    class Picky(Consumer):
        def handle(self, message: int) -> None:
            scene.report(message, self.attempt)
            if message == 1 and self.attempt < 3:
                raise Retry(after=0.0)
            if message == 2:
                self.reject("not this one")

    put(scene, 1, 2, 3)
    picky = crew.start(Picky)
    assert sorted(scene.reports.take(5)) == [[1, 1], [1, 2], [1, 3], [2, 1], [3, 1]]
    scene.until(depth=0, dead=1, settled_total=2)
    assert [letter["reason"] for letter in letters(scene)] == ["not this one"]
    assert scene.alive(picky.pid)


def test_an_exception_crashes_its_worker_and_is_told(start: Start) -> None:
    """The process ends, the message comes again; its dead letter has the error and where it was."""
    scene, crew = start(max_attempts=2)

    class Fragile(Consumer):
        def handle(self, message: int) -> None:
            scene.report(message, self.attempt)
            if message == 7:
                raise ZeroDivisionError("seven")

    put(scene, 6, 7)
    assert scene.ended(crew.start(Fragile).pid) == 1
    assert scene.reports.take(2) == [[6, 1], [7, 1]]
    assert scene.ended(crew.start(Fragile).pid) == 1
    assert scene.reports.take(1) == [[7, 2]]
    letter = letters(scene)[0]
    assert (letter["attempts"], letter["error"]) == (2, "ZeroDivisionError: seven")
    assert "in handle" in letter["traceback"]
    scene.until(depth=0, settled_total=1)


def test_a_policy_keeps_the_worker_alive(start: Start) -> None:
    """With ``on_error = "retry"`` an exception costs its message an attempt, and nobody a life."""
    scene, crew = start(max_attempts=2)

    class Tough(Consumer):
        on_error = "retry"

        def handle(self, message: int) -> None:
            scene.report(message, self.attempt)
            if message == 7:
                raise ZeroDivisionError

    put(scene, 7, 8)
    tough = crew.start(Tough)
    assert sorted(scene.reports.take(3)) == [[7, 1], [7, 2], [8, 1]]
    scene.until(depth=0, dead=1, settled_total=1)
    assert scene.alive(tough.pid)


def test_acknowledged_early_is_gone_with_its_worker(start: Start) -> None:
    """With ``ack="early"`` what ends its worker does not come again, what is behind it does."""
    scene, crew = start(ack="early")

    class Brave(Consumer):
        def handle(self, message: int) -> None:
            scene.report(message, self.attempt)
            if message == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    put(scene, 1, 2)
    assert scene.ended(crew.start(Brave).pid) == -signal.SIGKILL
    crew.start(Brave)
    assert scene.reports.take(2) == [[1, 1], [2, 1]]
    scene.until(depth=0, settled_total=2, redelivered_total=0)


def test_a_policy_that_there_is_not_is_refused_before_a_message_is_taken(start: Start) -> None:
    """A word that `on_error` does not know is an error of the start, and names what is allowed."""

    class Misspelt(Consumer):
        on_error = "crahs"

    scene, crew = start()
    assert scene.ended(crew.start(Misspelt).pid) == 1


# --- batches --------------------------------------------------------------------------------------


class Bare(Consumer):
    """Handles one message after the other."""

    def handle(self, message: int) -> None:
        """Handle one."""


class Generating(Consumer):
    """Its handler is made for each message, and never run."""

    def handle(self, message: int) -> Any:
        """Handle one."""
        yield message


class Awaited(Consumer):
    """Nobody would await its batches."""

    async def handle_many(self, batch: Batch[int]) -> None:  # type: ignore[override]
        """Handle some."""


class Threads(Consumer):
    """Would be given batches of one."""

    threads = 2

    def handle_many(self, batch: Batch[int]) -> None:
        """Handle some."""


@pytest.mark.parametrize(
    ("worker", "attributes", "error"),
    [
        (Bare, {"threads": 0}, "Bare.threads = 0: it has to be 1 to 511"),
        (Bare, {"concurrency": 10_000}, "Bare.concurrency = 10000"),
        (Bare, {"batch": 0}, "Bare.batch = 0"),
        (Bare, {"batch_wait": math.nan}, "Bare.batch_wait = nan"),
        (Bare, {"batch_wait": math.inf}, "Bare.batch_wait = inf"),
        (Bare, {"prefetch": -1}, "Bare.prefetch = -1: it has to be 0 to"),
        (Bare, {"threads": "4"}, "Bare.threads = '4'"),
        (Generating, {}, "Generating.handle has a yield"),
        (Awaited, {}, "Awaited.handle_many is async def"),
        (Threads, {}, "Threads.threads = 2"),
    ],
)
def test_what_would_lose_messages_is_refused_before_one_is_taken(
    worker: type[Consumer], attributes: dict[str, object], error: str
) -> None:
    """A handler that is never run, or a number that means nothing, is an error with its name."""
    consumer = type(worker.__name__, (worker,), attributes)()
    with pytest.raises((TypeError, ValueError), match=re.escape(error)):
        consumer.connect()


def test_a_batch_is_full_or_late(start: Start) -> None:
    """Batches hold `batch` messages at most; those that were not named are done, the others not."""
    scene, crew = start()

    class Many(Consumer):
        batch = 10
        batch_wait = 0.05
        prefetch = 100

        def handle_many(self, batch: Batch[int]) -> None:
            scene.report(len(batch), batch[0], batch[-1], batch.attempts[0])
            for place, message in enumerate(batch):
                if message == 12 and batch.attempts[place] == 1:
                    batch.nack(place, delay=0.0)
                if message == 13:
                    batch.reject(place, "thirteen")

    with QueueWriter("q", scene.path) as writer:
        writer.put_many(range(25))
    crew.start(Many)
    lines = scene.reports.take(4)
    assert [1, 12, 12, 2] in lines
    assert all(size <= 10 for size, *_ in lines)
    scene.until(depth=0, settled_total=24, dead=1, retried_total=1)


def test_the_message_that_ends_a_batch_is_singled_out(start: Start) -> None:
    """A poison message in a batch is buried after its attempts, and it alone.

    The others of its batch are charged with one end, the one that they were in; what was not in it
    with none.
    """
    scene, crew = start(max_attempts=3)

    class Many(Consumer):
        batch = 10

        def handle_many(self, batch: Batch[int]) -> None:
            for message, attempt in zip(batch, batch.attempts, strict=True):
                scene.report(message, attempt, len(batch) if 17 in batch else 0)
            if 17 in batch:
                os.kill(os.getpid(), signal.SIGKILL)

    with QueueWriter("q", scene.path) as writer:
        writer.put_many(range(30))
    lives = 1
    while scene.stat()["dead_total"] == 0:
        worker = crew.start(Many, incarnation=lives)
        ended = os.pidfd_open(worker.pid)
        while not select.select([ended], [], [], 0.02)[0] and scene.stat()["depth"]:
            pass
        os.close(ended)
        lives += 1
    crew.start(Many)
    after = scene.until(depth=0, dead_total=1, settled_total=29)
    assert lives == 4  # one in the batch, two over the message alone; the last finds none
    assert after["dead_total"] == 1
    lines = scene.reports.take(29 + 2)  # all that are done, and the message alone, twice
    together = {message for message, attempt, size in lines if size and attempt == 1}
    lines += scene.reports.take(31 + len(together) - len(lines))
    attempts = {message: attempt for message, attempt, _ in lines}
    assert {message for message, attempt in attempts.items() if attempt > 1} == together
    assert (attempts.pop(17), set(attempts.values())) == (3, {1, 2})
    assert len(attempts) == 29


def test_who_waits_for_a_full_batch_goes_on_beating(start: Start) -> None:
    """For longer than its heartbeat: it is idle, and neither stuck nor stalled."""
    scene, crew = start()

    class Patient(Consumer):
        batch_wait = 60.0

        def handle_many(self, batch: Batch[int]) -> None:
            scene.report(len(batch))

    running = crew.start(Patient, heartbeat=0.2)
    put(scene, 1)
    scene.until(leased=1)
    beats = list(islice(running.beats(), 20))
    assert len(beats) == 20
    assert all(beat.idle for beat in beats[-10:])
    assert scene.stat()["leased"] == 1


def test_a_message_is_not_done_before_it_is_said_that_it_comes_back(start: Start) -> None:
    """Killed while the broker reads nothing: what was given back and not yet sent is not lost."""
    scene, crew = start(max_attempts=3)

    class Giving(Consumer):
        prefetch = 1000

        def handle(self, message: int) -> None:
            scene.report(message)
            if message == 0:
                os.kill(scene.broker, signal.SIGSTOP)
            raise Retry(after=60.0, reason="x" * 1000)

    put(scene, 0, *range(1, 1000))
    worker = crew.start(Giving)
    try:
        while scene.reports.lines(patience=0.5):
            pass  # until it waits for the broker, or has given everything back
        scene.kill(worker.pid)
    finally:
        os.kill(scene.broker, signal.SIGCONT)
    after = scene.until(consumers=0)
    assert (after["depth"], after["settled_total"]) == (1000, 0)


def test_what_is_done_before_a_message_that_is_given_back_is_done(start: Start) -> None:
    """Killed right behind the word that settled its chunk: what lies before it was not unsaid."""
    scene, _ = start()
    put(scene, 1)
    put(scene, 2)

    def consume() -> None:
        reader, chunks = QueueReader("q", scene.path, prefetch=100), list[Delivered]()
        while len(chunks) < 2:
            chunks += reader.take()
        first, second = chunks
        reader.cursor.busy(first.id, 0)
        reader.cursor.idle(first.id, 1)
        reader.acknowledge(first.id, 1, 1)
        reader.cursor.busy(second.id, 0)
        reader.nack(second, 0, Nack(delay=60.0))
        os.kill(os.getpid(), signal.SIGKILL)

    assert scene.ended(scene.fork(consume)) == -signal.SIGKILL
    after = scene.until(consumers=0)
    assert (after["settled_total"], after["depth"], after["retried_total"]) == (1, 1, 1)
