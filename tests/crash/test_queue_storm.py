"""SIGKILLs at random moments, of everybody around a queue, and a checker over what was seen.

Every put that was confirmed is handled at least once; nothing is handled that was not put; what is
handled again says so by its attempt; and it goes on until the end. The number of kills comes from
$QUEUE_KILLS: ``QUEUE_KILLS=50000 pytest tests/crash/test_queue_storm.py`` takes its time.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_harness import Make, Scene, scenes
from workers.queues.reader import Delivery
from workers.queues.writer import QueueWriter

KILLS = int(os.environ.get("QUEUE_KILLS", "2000"))
#: Numbers of one producer: no other one, and no later incarnation, puts them.
RANGE = 10_000
#: Lines that tell what they are by their second number, where others have an attempt.
CONFIRMED = 0

pytestmark = pytest.mark.timeout(max(60, KILLS // 10))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make scenes, and end what is in them."""
    yield from scenes(tmp_path)


class History:
    """What was seen of messages: which were confirmed, and at which attempts they were handled."""

    def __init__(self) -> None:
        self.confirmed: set[int] = set()
        self.attempts: dict[int, Counter[int]] = {}

    def confirm(self, last: int) -> None:
        """All numbers of a range up to this one are in the queue."""
        self.confirmed.update(range(last // RANGE * RANGE, last + 1))

    def handle(self, number: int, attempt: int) -> None:
        """A number was begun."""
        self.attempts.setdefault(number, Counter())[attempt] += 1

    @property
    def missing(self) -> set[int]:
        """What was confirmed, and not handled yet."""
        return self.confirmed - self.attempts.keys()

    def problems(self, ranges: int) -> list[str]:
        """Say what must not be; ``ranges``: how many were put from."""
        found = [f"{number} was lost" for number in sorted(self.missing)]
        for number, attempts in self.attempts.items():
            if not RANGE <= number < (ranges + 1) * RANGE:
                found.append(f"{number} was invented")
            if attempts[1] > 1:
                found.append(f"{number} came {attempts[1]} times at its first attempt")
        return found


class Storm:
    """Producers, consumers and a broker that are killed, and what was seen of messages.

    Args:
        scene: where.
        chance: what is random.
        kill_broker: whether the broker is among the victims.

    """

    def __init__(self, scene: Scene, chance: random.Random, kill_broker: bool) -> None:
        self.scene, self.chance, self.kill_broker = scene, chance, kill_broker
        self.ranges = 0
        self.history = History()
        self.consumers = [scene.consumer(_slowly) for _ in range(3)]
        self.producers = [self._producer() for _ in range(2)]

    def _producer(self) -> int:
        self.ranges += 1
        return self.scene.fork(_produce, self.scene, self.ranges * RANGE)

    def kill(self) -> None:
        """Kill one of them, and start its successor."""
        victims = ["consumer", "producer"] + ["broker"] * self.kill_broker
        match self.chance.choice(victims):
            case "consumer":
                place = self.chance.randrange(len(self.consumers))
                self.scene.kill(self.consumers[place])
                self.consumers[place] = self.scene.consumer(_slowly)
            case "producer":
                place = self.chance.randrange(len(self.producers))
                self.scene.kill(self.producers[place])
                self.producers[place] = self._producer()
            case _:
                self.scene.kill(self.scene.broker)
                self.scene.start_broker()

    def watch(self, lines: int) -> None:
        """Take note of at least so many lines; fails when nobody says anything any more."""
        self._note(self.scene.reports.take(lines))

    def _note(self, lines: list[list[int]]) -> None:
        for number, attempt, *_ in lines:
            if attempt == CONFIRMED:
                self.history.confirm(number)
            else:
                self.history.handle(number, attempt)

    def check(self) -> None:
        """Let the rest be handled, and judge."""
        for producer in self.producers:
            self.scene.kill(producer)
        while self.history.missing:
            self.watch(1)
        while self.scene.stat()["depth"]:  # who writes waits for who reads
            self._note(self.scene.reports.lines(0.01))
        self.scene.until(depth=0, leased=0, dead=0)
        assert self.history.confirmed
        assert self.history.problems(self.ranges) == []


def _slowly(_delivery: Delivery) -> None:
    """Give a kill something to hit."""
    for _ in range(2000):
        pass


def _produce(scene: Scene, first: int) -> None:
    with QueueWriter("q", scene.path) as writer:
        for number in range(first, first + RANGE):
            writer.put(number)
            if number % 20 == 19:
                writer.flush()
                scene.report(number, CONFIRMED)


@pytest.mark.parametrize(
    ("durable", "share"), [("", 0.4), ("process", 0.6)], ids=["memory", "durable"]
)
def test_a_storm_of_kills_loses_and_invents_nothing(make: Make, durable: str, share: float) -> None:
    """Consumers and producers, and the broker of a durable queue, 2000 times in all."""
    chance = random.Random(7)
    scene = make(capacity=300, max_attempts=100_000, durable=durable)
    storm = Storm(scene, chance, kill_broker=bool(durable))
    for _ in range(int(KILLS * share)):
        storm.watch(chance.randint(1, 12))
        storm.kill()
    storm.check()


def test_the_checker_sees_what_must_not_be() -> None:
    """A loss, an invention, and a repetition that does not say so."""
    history = History()
    history.confirm(RANGE + 2)
    for number in (RANGE, RANGE + 1):
        history.handle(number, 1)
    history.handle(RANGE, 2)
    assert history.problems(1) == [f"{RANGE + 2} was lost"]
    history.handle(RANGE + 2, 1)
    assert history.problems(1) == []
    history.handle(RANGE + 1, 1)
    history.handle(2 * RANGE, 1)
    assert history.problems(1) == [
        f"{RANGE + 1} came 2 times at its first attempt",
        f"{2 * RANGE} was invented",
    ]
