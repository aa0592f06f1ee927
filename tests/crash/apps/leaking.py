"""Eight consumers that leak 1 MiB with each message, and a producer that never lets them rest."""

import os
from collections.abc import Iterator

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer

MIB = 1 << 20
#: The ledger of what was handled, and how long the producer goes on: MESSAGES of them.
MESSAGES = int(os.environ.get("MESSAGES", "1500"))
#: How long one takes.
SECONDS = float(os.environ.get("SECONDS", "0.5"))

jobs = Queue("jobs", capacity=200)


class Leaky(Consumer):
    """Keeps a mebibyte of each message."""

    prefetch = 4

    def init(self) -> None:
        """Open the ledger."""
        self.kept: list[bytes] = []
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self.ledger = os.open(os.environ["LEDGER"], flags, 0o600)

    def handle(self, number: int) -> None:
        """Leak, work a little, and note the message."""
        self.kept.append(os.urandom(16) * (MIB // 16))
        self.link.wait(SECONDS)
        os.write(self.ledger, b"%d\n" % number)


class Source(Producer):
    """Numbers messages."""

    def produce(self) -> Iterator[int]:
        """Yield so many, then wait to be stopped."""
        yield from range(MESSAGES)
        self.flush()
        os.write(self.log, b"done\n")
        self.link.wait(1e6)

    def init(self) -> None:
        """Open the ledger."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self.log = os.open(os.environ["LEDGER"] + ".produced", flags, 0o600)


def leaky(**limits: object) -> Supervisor:
    """Make the tree."""
    return Supervisor(
        "leak",
        intensity=0,
        queues=[jobs],
        memory_budget="900MiB",
        children=[
            Child("leaky", Leaky, queue=jobs, count=8, **limits),  # type: ignore[arg-type]
            Child("source", Source, queue=jobs),
        ],
    )


tree = leaky(memory_soft="12MiB", memory_hard="120MiB", min_lifetime=3.0)
