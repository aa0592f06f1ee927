"""What a put means: when it is sent, what it waits for, what it raises; and calls."""

import asyncio
import math
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.channel import pair
from supervisor.link import Context, StopRequest, WorkerLink
from tests.crash.queue_harness import PATIENCE
from tests.crash.queue_workers import Start, crews
from tests.crash.test_queue_policies import command
from workers import (
    AsyncQueueWriter,
    Consumer,
    Producer,
    QueueFull,
    QueueUnavailable,
)
from workers.queues.client import door
from workers.queues.client.reader import QueueReader
from workers.queues.client.writer import QueueWriter
from workers.queues.errors import Interrupted, QueueClosed, QueueError


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make a scene and a crew for it."""
    yield from crews(tmp_path)


# --- when a put is sent ---------------------------------------------------------------------------


def test_what_was_put_is_sent_though_nothing_follows(start: Start) -> None:
    """Messages that were kept back arrive while their producer does something else."""
    scene, _ = start()
    with QueueWriter("q", scene.path) as writer:
        for number in range(1003):  # faster than the broker confirms: the last ones are kept back
            writer.put(number)
            if number == 500:
                scene.consumer()
        lines = scene.reports.take(1003)
    assert [line[0] for line in lines] == list(range(1003))


def test_a_lone_put_is_sent_at_once(start: Start) -> None:
    """Who puts now and then has no thread, and nothing is kept back."""
    scene, _ = start()
    before = threading.active_count()
    with QueueWriter("q", scene.path) as writer:
        for number in range(3):
            writer.put(number)
            scene.until(accepted_total=number + 1)
        assert threading.active_count() == before


def test_puts_are_in_order_whatever_they_say(start: Start) -> None:
    """Plain puts, puts with options and batches of one producer are taken in their order."""
    scene, _ = start()
    with QueueWriter("q", scene.path) as writer:
        for number in range(0, 300, 3):
            writer.put(number)
            writer.put(number + 1, ttl=60)
            writer.put_many([number + 2])
    scene.consumer()
    assert [line[0] for line in scene.reports.take(300)] == list(range(300))


def test_threads_share_a_writer(start: Start) -> None:
    """Several threads put by one writer: everything arrives, once."""
    scene, _ = start(capacity=50)
    scene.consumer()
    with QueueWriter("q", scene.path) as writer:

        def put(first: int) -> None:
            for number in range(first, first + 500):
                writer.put(number)

        threads = [threading.Thread(target=put, args=(n * 500,)) for n in range(4)]
        for thread in threads:
            thread.start()
        seen = sorted(line[0] for line in scene.reports.take(2000))
        for thread in threads:
            thread.join()
    assert seen == list(range(2000))


def test_what_cannot_be_encoded_takes_nothing_with_it(start: Start) -> None:
    """A TypeError leaves what was put before as it was, and what follows."""
    scene, _ = start()
    with QueueWriter("q", scene.path) as writer:
        for number in range(50):
            writer.put(number)
            with pytest.raises(TypeError):
                writer.put([1, 2, object()])
            with pytest.raises(TypeError):
                writer.put(object(), ttl=5)
            with pytest.raises(TypeError, match="key is 5"):
                writer.put(number, key=5)  # type: ignore[arg-type]
    scene.consumer()
    assert [line[0] for line in scene.reports.take(50)] == list(range(50))


def test_a_closed_writer_says_so(start: Start) -> None:
    """A put after the close is an error: it could be kept back, and nobody would send it."""
    scene, _ = start()
    writer = QueueWriter("q", scene.path)
    writer.put(1)
    writer.close()
    with pytest.raises(QueueError, match="closed"):
        writer.put(2)
    with pytest.raises(QueueError, match="closed"):
        writer.put_many([3, 4])
    writer.close()
    assert command(scene, "stats")[0]["accepted_total"] == 1


@pytest.mark.parametrize("timeout", [math.inf, 1e300])
def test_a_timeout_may_be_all_time(start: Start, timeout: float) -> None:
    """Whoever would wait for ever may say so with infinity, too."""
    scene, _ = start()
    scene.consumer()
    with QueueWriter("q", scene.path) as writer:
        writer.put(1, timeout, confirm=True)
        writer.flush(timeout)
    assert scene.reports.take(1)[0][0] == 1


def test_a_writer_belongs_to_its_process(start: Start) -> None:
    """A child that was forked later is told so, and breaks nothing."""
    scene, _ = start()
    writer = QueueWriter("q", scene.path)
    writer.put(1)
    writer.flush()
    pid = os.fork()
    if not pid:
        try:
            writer.put(2)
        except QueueError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    writer.put(3)
    writer.close()
    scene.until(accepted_total=2)


class Sink(Consumer):
    """Takes everything."""

    def handle(self, message: Any) -> None:
        """Take it."""


# --- what a put waits for, and raises -------------------------------------------------------------


def test_a_queue_that_refuses_says_so_at_once(start: Start) -> None:
    """With ``overflow="reject"`` the put that finds no room raises; only that one is missing."""
    scene, _ = start(capacity=3, overflow="reject")
    with QueueWriter("q", scene.path) as writer:
        for number in range(3):
            writer.put(number)
        with pytest.raises(QueueFull, match="refused 1 message: it holds 3 of 3 messages"):
            writer.put(3)
        scene.consumer()
        scene.until(depth=0)
        writer.put(4)
    assert [line[0] for line in scene.reports.take(4)] == [0, 1, 2, 4]


def test_a_refusal_of_an_earlier_put_is_raised_by_the_next_call(start: Start) -> None:
    """Who does not wait for confirmations is told later, and how many messages it was."""
    scene, _ = start(capacity=3, overflow="reject")
    writer = QueueWriter("q", scene.path)
    for number in range(3):
        writer.put(number)
    writer.put(3, confirm=False)
    with pytest.raises(QueueFull) as caught:
        writer.flush()
    assert caught.value.messages == 1
    writer.close()


def test_a_producer_is_told_of_what_was_refused(start: Start) -> None:
    """A put without a timeout waits for room, and hides no refusal of what was put before."""
    scene, crew = start()
    command(scene, "drain")

    class Stubborn(Producer):
        def run(self) -> None:
            try:
                for number in range(10_000):
                    self.put(number)
            except QueueClosed as error:
                scene.report(error.messages)

    crew.start(Stubborn)
    assert scene.reports.take(1)[0][0] > 0


def test_duplicates_are_put_once(start: Start) -> None:
    """A message with a dedupe key that was accepted lately is no error, and is not put again."""
    scene, _ = start(dedupe_by="id")
    with QueueWriter("q", scene.path) as writer:
        for number in (1, 2, 1, 1, 3):
            writer.put({"id": number})
        writer.put({"id": 9}, dedupe="3")
    scene.until(accepted_total=3)


@pytest.mark.parametrize("durable", ["process", "full"])
def test_a_retry_after_the_end_of_the_broker_is_a_duplicate(start: Start, durable: str) -> None:
    """What was accepted within the window is not accepted again, by another broker either."""
    scene, _ = start(dedupe_by="id", durable=durable)
    with QueueWriter("q", scene.path) as writer:
        for number in range(20):
            writer.put({"id": number}, confirm=True)
    scene.kill(scene.broker)
    scene.start_broker()
    with QueueWriter("q", scene.path) as writer:
        for number in range(15, 25):
            writer.put({"id": number}, confirm=True)
    after = scene.until(depth=25)
    assert after["accepted_total"] == 5


def test_a_timeout_covers_a_broker_that_is_away(start: Start) -> None:
    """Without a broker a put with a timeout ends in time; with the next one all goes on."""
    scene, _ = start()
    writer = QueueWriter("q", scene.path)
    writer.put(1)
    writer.flush()
    scene.kill(scene.broker)
    scene.listener.close()
    os.unlink(scene.path)
    began = time.monotonic()
    with pytest.raises(QueueUnavailable):  # what is put before that is kept, and sent again
        put_for_ever(writer)
    assert 0.1 < time.monotonic() - began < 5
    scene.listener = type(scene.listener)(scene.listener.family, scene.listener.type)
    scene.listener.bind(scene.path)
    scene.listener.listen(5)
    scene.start_broker()
    writer.close()
    assert scene.stat()["accepted_total"] >= 1


def put_for_ever(writer: QueueWriter) -> None:
    """Put until there is an error."""
    while True:
        writer.put(2, timeout=0.2)


def test_a_stopped_producer_leaves_what_it_can(start: Start) -> None:
    """A producer that is held back by a full queue ends in order when it is asked to."""
    scene, crew = start(capacity=10)

    class Endless(Producer):
        def produce(self) -> Iterator[int]:
            number = 0
            while True:
                yield number
                number += 1

    running = crew.start(Endless)
    scene.until(depth=10, blocked=1)
    os.kill(running.pid, signal.SIGTERM)
    assert scene.ended(running.pid) == 0


def test_what_a_stop_interrupts_while_it_is_sent_is_put_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel has taken a part of it: the rest follows, and it is not sent again as another."""
    monkeypatch.setattr(door, "SEND_BUFFER", 1 << 16)  # as where net.core.wmem_max is small
    scene, _ = start(capacity=1)
    ours, theirs = pair()
    writer = QueueWriter("q", scene.path, WorkerLink(theirs, Context("w.0", 1)))
    large = b"x" * 300_000
    writer.put([0, large], confirm=True)
    writer.put([1, large], PATIENCE)  # with a timeout the rest of it is sent by a thread
    scene.until(blocked=1)
    ours.send(msgspec.msgpack.encode(StopRequest(1.0)))
    with pytest.raises(Interrupted):
        writer.put([2, large])

    def consume() -> None:
        reader = QueueReader("q", scene.path)
        while True:
            for delivery in reader.receive():
                scene.report(delivery.message[0])
                reader.done(delivery)

    scene.fork(consume)
    assert writer.close_within(PATIENCE) == 0
    scene.until(depth=0)
    assert scene.reports.take(3) == [[0], [1], [2]]
    assert scene.stat()["accepted_total"] == 3
    ours.close()
    theirs.close()


def test_producers_may_be_coroutines(start: Start) -> None:
    """``async def produce`` is held back like any other, and ends in order."""
    scene, crew = start(capacity=10)

    class Numbers(Producer):
        async def produce(self) -> AsyncIterator[int]:  # type: ignore[override]
            for number in range(200):
                await asyncio.sleep(0)
                yield number

    running = crew.start(Numbers)
    scene.until(depth=10, blocked=1)
    scene.consumer()
    assert [line[0] for line in scene.reports.take(200)] == list(range(200))
    assert scene.ended(running.pid) == 0


def test_tasks_put_without_blocking_their_loop(start: Start) -> None:
    """While some tasks wait for room, others go on; a timeout raises, a flush waits."""
    scene, crew = start(capacity=10)

    async def work() -> int:
        plain = QueueWriter("q", scene.path)
        writer = AsyncQueueWriter(plain)
        turns, done = 0, asyncio.Event()

        async def turn() -> None:
            nonlocal turns
            while not done.is_set():
                turns += 1
                await asyncio.sleep(0.001)

        turning = asyncio.ensure_future(turn())
        with pytest.raises(QueueFull):
            await writer.put_many(range(10_000), timeout=0.1)
        crew.start(Sink)
        await asyncio.gather(*(writer.put(number) for number in range(100)))
        await writer.flush(PATIENCE)
        done.set()
        await turning
        plain.close()
        return turns

    assert asyncio.run(work()) > 10
