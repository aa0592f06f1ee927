"""Consumers of every kind that log what they work on, several messages at once where they can."""

import asyncio
import logging
import threading
from typing import Any

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer
from workers.log import get_logger

KINDS = ("serial", "lanes", "tasks", "batches")
MESSAGES, AT_ONCE = 6, 3

queues = {kind: Queue(kind) for kind in KINDS}
log = get_logger("ours")


def trace(number: int) -> str:
    """Return the trace id of a message."""
    return f"{number:032x}"


class Logging(Consumer):
    """Logs in both ways, and says itself what should be in the records."""

    def say(self, event: str, number: int) -> None:
        """Log it."""
        right: dict[str, Any] = {"number": number, "expected": self.message_id}
        log.info(f"{event} structlog", **right)
        logging.getLogger("theirs").warning("%s logging", event, extra=right)


class Serial(Logging):
    """One after the other; helped by a thread."""

    def handle(self, number: int) -> None:
        """Log, in this thread and in another."""
        self.say("first", number)
        helper = threading.Thread(target=self.say, args=("second", number))
        helper.start()
        helper.join()


class Lanes(Logging):
    """Three threads, which meet in the middle of their messages."""

    threads = AT_ONCE

    def init(self) -> None:
        """Make the meeting point."""
        self.barrier = threading.Barrier(AT_ONCE)

    def handle(self, number: int) -> None:
        """Log before and after the others have logged."""
        self.say("first", number)
        self.barrier.wait()
        self.say("second", number)


class Tasks(Logging):
    """Tasks, three of which meet in the middle of their messages."""

    concurrency = AT_ONCE

    def init(self) -> None:
        """Make the meeting point."""
        self.barrier = asyncio.Barrier(AT_ONCE)

    async def handle(self, number: int) -> None:
        """Log before and after the others have logged, the second time from another thread."""
        self.say("first", number)
        await self.barrier.wait()
        await asyncio.to_thread(self.say, "second", number)


class Batches(Logging):
    """Batches of one; of a larger one, the first message is named."""

    batch = 1

    def handle_many(self, numbers: list[int]) -> None:
        """Log twice."""
        self.say("first", numbers[0])
        self.say("second", numbers[0])


class Put(Producer):
    """Puts messages, each with a trace of its own."""

    def run(self) -> None:
        """Put."""
        log.info("putting")
        for number in range(MESSAGES):
            self.put(number, headers={"traceparent": f"00-{trace(number)}-{number:016x}-01"})
        self.flush()
        self.link.wait(1e6)


tree = Supervisor(
    "logged",
    queues=list(queues.values()),
    children=[
        *(
            Child(kind, target, queue=queues[kind])
            for kind, target in zip(KINDS, (Serial, Lanes, Tasks, Batches), strict=True)
        ),
        *(Child(f"put-{kind}", Put, queue=queues[kind]) for kind in KINDS),
    ],
)
