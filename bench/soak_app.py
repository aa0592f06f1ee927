"""The app of the soak: producers, consumers of their queue, and workers that do nothing.

All of them are killed, again and again, by `bench.soak`.
"""

import os
from collections.abc import Iterator

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer, Worker

jobs = Queue("jobs", capacity=2_000)


class Eat(Consumer):
    """Handles messages as fast as they come."""

    prefetch = 64

    def init(self) -> None:
        """Give the log something to do."""
        print("consumer", os.getpid(), flush=True)

    def handle(self, number: int) -> None:
        """Do nothing."""


class Feed(Producer):
    """Puts numbers for ever."""

    def produce(self) -> Iterator[int]:
        """Yield numbers."""
        number = 0
        while True:
            yield number
            number += 1


class Rest(Worker):
    """Does nothing."""

    def run(self) -> None:
        """Wait."""
        self.link.wait(1e6)


tree = Supervisor(
    "soak",
    intensity=1_000_000,
    period=1,
    queues=[jobs],
    children=[
        Child("eat", Eat, queue=jobs, count=2, heartbeat=20.0),
        Child("feed", Feed, queue=jobs, heartbeat=2.0),
        Child("rest", Rest, count=8),
    ],
)
