"""What holds while workers around a queue are killed, or the broker is.

Everything here is real: a broker process behind a listening Unix socket, and processes around it.
"""

import os
import random
import select
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_harness import Make, scenes
from workers.queues.broker import broker
from workers.queues.client.reader import Delivery, QueueReader
from workers.queues.client.writer import QueueWriter
from workers.queues.frames import Nack


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make scenes, and end what is in them."""
    yield from scenes(tmp_path)


def test_killed_consumers_lose_and_invent_nothing(make: Make) -> None:
    """All of 60 000 messages are handled while consumers are SIGKILLed 60 times at random."""
    messages, kills, chance = 60_000, 60, random.Random(3)
    scene = make(max_attempts=1000)
    consumers = [scene.consumer() for _ in range(3)]
    producer = scene.producer(messages)
    seen: Counter[int] = Counter()
    unexplained: list[int] = []
    killed, lines, next_kill = 0, 0, 100
    while len(seen) < messages:
        found = scene.reports.lines()
        assert found, f"wedged at {len(seen)} messages: {scene.stat()}"
        for message, attempt, _ in found:
            lines += 1
            if seen[message] and attempt == 1:
                unexplained.append(message)
            seen[message] += 1
        if killed < kills and lines > next_kill:
            victim = chance.randrange(len(consumers))
            scene.kill(consumers[victim])
            consumers[victim] = scene.consumer()
            killed += 1
            # Soon: others go on while a consumer starts, and all messages must not be done by then.
            next_kill = lines + chance.randrange(messages // (5 * kills))
    assert scene.ended(producer) == 0
    assert killed == kills
    assert set(seen) == set(range(messages))
    assert not unexplained  # what came twice said so
    after = scene.until(depth=0, leased=0, consumers=len(consumers))
    assert (after["accepted_total"], after["dead_total"]) == (messages, 0)
    assert after["redelivered_total"] <= kills


def test_a_killed_producer_leaves_what_was_confirmed(make: Make) -> None:
    """What a SIGKILLed producer had confirmed is there, in order, and another one's is too."""
    scene = make(capacity=100_000)

    def produce() -> None:
        writer = QueueWriter("q", scene.path)
        for number in range(1_000_000):
            writer.put(number)
            if number % 100 == 99:
                writer.flush()
                scene.report(number)

    victim = scene.fork(produce)
    confirmed = scene.reports.take(20)[-1][0]
    scene.kill(victim)
    with QueueWriter("q", scene.path) as writer:
        writer.put(-1)
    held = scene.until(blocked=0)["depth"]
    assert held > confirmed + 1
    scene.consumer()
    # The victim's reports of before its end come first; consumers' lines have three numbers.
    handled: list[int] = []
    while len(handled) < held:
        handled += [line[0] for line in scene.reports.take(1) if len(line) == 3]
    theirs = [number for number in handled if number >= 0]
    assert theirs == list(range(held - 1))
    assert handled.count(-1) == 1


def test_poison_is_buried_and_innocents_are_not_blamed(make: Make) -> None:
    """A message that ends its consumer is tried max_attempts times; those around it once."""
    scene = make()

    def handle(delivery: Delivery) -> None:
        if delivery.message == 50:
            os.kill(os.getpid(), signal.SIGKILL)

    with QueueWriter("q", scene.path) as writer:
        writer.put_many(range(100))
    for _ in range(3):
        assert scene.ended(scene.consumer(handle)) == -signal.SIGKILL
    survivor = scene.consumer(handle)
    lines = scene.reports.take(102)
    scene.until(depth=0, settled_total=99, dead=1, dead_total=1, redelivered_total=2)
    assert [attempt for message, attempt, _ in lines if message == 50] == [1, 2, 3]
    others = [(message, attempt) for message, attempt, _ in lines if message != 50]
    assert sorted(others) == [(number, 1) for number in range(100) if number != 50]
    assert scene.alive(survivor)


@pytest.mark.parametrize("option", ["lease", "dead_ttl"])
def test_a_broker_waits_for_longer_than_the_kernel_counts(
    make: Make, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """A year until anything is due: an idle broker sleeps in parts, and lives on."""
    monkeypatch.setattr(broker, "IDLE", 0.01)
    scene = make(max_attempts=1, **{"lease": None, option: 366 * 86_400.0})
    with QueueWriter("q", scene.path) as writer:
        writer.put(1)
    reader = QueueReader("q", scene.path)
    (chunk,) = reader.take(time.monotonic() + 10)
    reader.nack(chunk, 0, Nack("dead"))
    scene.until(dead=1)
    pidfd = os.pidfd_open(scene.broker)
    assert not select.select([pidfd], [], [], 0.3)[0]  # it has nothing to do any more
    os.close(pidfd)
    reader.close()


def test_a_broker_that_holds_messages_sleeps(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody consumes, and nothing is due: it does not wake to see that."""
    monkeypatch.setattr(broker, "IDLE", 0.01)
    scene = make(capacity=10)
    with QueueWriter("q", scene.path) as writer:
        writer.put(1)
    scene.until(depth=1)
    pidfd = os.pidfd_open(scene.broker)
    settled = [select.select([pidfd], [], [], 0.1)[0]]  # the end of our own connection was seen
    before = waits_of(scene.broker)
    settled.append(select.select([pidfd], [], [], 0.3)[0])
    os.close(pidfd)
    assert settled == [[], []]
    assert waits_of(scene.broker) == before


def waits_of(pid: int) -> int:
    """How often a process has gone to sleep."""
    with open(f"/proc/{pid}/status") as status:
        (line,) = (line for line in status if line.startswith("voluntary_ctxt_switches"))
    return int(line.split()[1])
