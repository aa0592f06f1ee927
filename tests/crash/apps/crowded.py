"""A consumer that is due for recycling, behind a queue that stays full until it is let go."""

import os
from collections.abc import Iterator
from pathlib import Path

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer

jobs = Queue("jobs", capacity=20)
GO = Path(os.environ["MARKS"]) / "go"


class Slow(Consumer):
    """Works on its message until there is the mark."""

    prefetch = 2

    def handle(self, number: int) -> None:
        """Work."""
        while not GO.exists() and not self.link.wait(0.05):
            pass


class Source(Producer):
    """Puts more than there is room for."""

    def produce(self) -> Iterator[int]:
        """Yield numbers, then wait to be stopped."""
        yield from range(60)
        self.link.wait(1e6)


tree = Supervisor(
    "crowded",
    [
        Child("slow", Slow, queue=jobs, max_age=1.0, min_lifetime=0),
        Child("source", Source, queue=jobs),
    ],
    intensity=0,
    queues=[jobs],
)
