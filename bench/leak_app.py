"""The app of `bench.leak`: consumers that keep a mebibyte of each message, under steady load."""

import os
from collections.abc import Iterator

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer

MIB = 1 << 20
COUNT = int(os.environ.get("COUNT", "8"))
#: Seconds that a message takes: a worker leaks 1 MiB in that time.
SECONDS = float(os.environ.get("SECONDS", "0.5"))
BATCH = 64
jobs = Queue("jobs", capacity=200)


class Leaky(Consumer):
    """Notes each message in the ledger, and keeps a mebibyte of it."""

    prefetch = 4

    def init(self) -> None:
        """Open the ledger."""
        self.kept: list[bytes] = []
        self.ledger = _ledger("handled")

    def handle(self, number: int) -> None:
        """Leak."""
        self.kept.append(os.urandom(16) * (MIB // 16))
        self.link.wait(SECONDS)
        os.write(self.ledger, b"%d\n" % number)


class Source(Producer):
    """Numbers messages until it is told to end."""

    def init(self) -> None:
        """Open its ledger."""
        self.ledger = _ledger("produced")

    def produce(self) -> Iterator[int]:
        """Yield numbers while the order to stop is not there."""
        number = 0
        while not os.path.exists(os.environ["LEDGER"] + ".enough"):
            yield number
            number += 1
            if number % BATCH == 0:
                self.flush()  # or thousands wait in its buffer when it is told to end
        self.flush()
        os.write(self.ledger, b"%d\n" % number)
        self.link.wait(1e6)


def _ledger(name: str) -> int:
    path = f"{os.environ['LEDGER']}.{name}"
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


tree = Supervisor(
    "leak",
    intensity=0,
    queues=[jobs],
    memory_budget=f"{128 * COUNT + 128}MiB",
    children=[
        Child(
            "leaky",
            Leaky,
            queue=jobs,
            count=COUNT,
            memory_soft="50MiB",
            memory_hard="120MiB",
            min_lifetime=10.0,
        ),
        Child("source", Source, queue=jobs),
    ],
)
