"""Work loops that get nowhere, and others that only have nothing to do."""

import threading

from supervisor import Child, Queue, Supervisor, link
from supervisor.link import current
from workers import Consumer, Producer

PAUSE = threading.Event()
LIMIT = 0.4


def life() -> int:
    """Which process in its slot this is, from 1 on."""
    here = current()
    assert here is not None
    return here.context.incarnation


def spin() -> None:
    """Beat and beat, and get nowhere."""
    while True:
        link.beat(1)


def advance() -> None:
    """Get somewhere, if slowly: a step takes more than half of the limit."""
    count = 0
    while not link.stopping():
        link.beat(count)
        PAUSE.wait(LIMIT * 0.6)
        count += 1


def wait_and_say_so() -> None:
    """Have nothing to do, and say so."""
    link.beat(1)
    while not link.stopping():
        link.beat(1, idle=True)
        PAUSE.wait(0.02)


class Takes(Consumer):
    """Hangs in the first message, the first time it comes."""

    prefetch = 1

    def handle(self, message: str) -> None:
        """Handle a message, or hang in it."""
        if message == "hang" and self.attempt == 1:
            self.hang()
        print("handled", message, self.attempt, flush=True)

    def hang(self) -> None:
        """Use a processor, and get nowhere."""
        while True:
            pass


class Feeds(Producer):
    """Puts what the consumer hangs in, and one more."""

    def produce(self) -> list[str]:
        """Name the messages."""
        return ["hang", "next"]


class HeldBack(Producer):
    """Puts more than there is room for."""

    def run(self) -> None:
        """Put until the queue is full, and on."""
        print("pid", flush=True)
        while True:
            self.put("more")


full = Queue("full", capacity=2)
work = Queue("work")
none = Queue("none")

tree = Supervisor(
    "stalling",
    intensity=1000,
    queues=[full, work, none],
    children=[
        Child("advance", advance, stall_timeout=LIMIT),
        Child("waiting", wait_and_say_so, stall_timeout=LIMIT),
        Child("silent", PAUSE.wait, stall_timeout=LIMIT),
        Child("idle", Takes, queue=none, stall_timeout=LIMIT),
        Child("held-back", HeldBack, queue=full, stall_timeout=LIMIT, heartbeat=LIMIT),
        Child("takes", Takes, queue=work, stall_timeout=LIMIT),
        Child("feeds", Feeds, queue=work, restart="transient"),
        Child("spin", spin, stall_timeout=LIMIT, heartbeat=LIMIT),
    ],
)
