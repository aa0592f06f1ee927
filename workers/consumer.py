"""A consumer: one message after the other, each acknowledged when `handle` has returned."""

import time
import typing
from typing import Any

from supervisor.logs.record import context
from workers.queues.errors import Interrupted
from workers.queues.reader import Delivery, QueueReader
from workers.worker import Worker, queue_address, queue_name


class Consumer(Worker):
    """Base of workers that are fed by a queue (``Child(..., queue=...)``).

    At least once: a message is acknowledged after `handle` returned. When the process dies before
    that, for whatever reason, the message comes again, to another consumer or the next
    incarnation, with `attempt` one higher; after the queue's ``max_attempts`` it becomes a dead
    letter. What `handle` raises ends the process: let it crash. Messages that were only fetched
    ahead are not blamed.

    A message is decoded to the type that the parameter of `handle` is annotated with; one that
    does not fit becomes a dead letter.
    """

    #: Messages that are fetched ahead, at most.
    prefetch: int = 16
    #: How often the message at hand was delivered, from 1; names it for logs.
    attempt: int = 0
    message_id: str = ""

    _reader: QueueReader
    _finished = False

    def handle(self, message: Any) -> None:
        """Handle one message."""
        raise NotImplementedError(f"{type(self).__name__} has no handle()")

    def finish(self) -> None:
        """End in order after the message at hand (which is acknowledged), with exit status 0."""
        self._finished = True

    def connect(self) -> None:
        """Connect to the queue."""
        self._reader = QueueReader(
            queue_name(self, self.link),
            queue_address(self.link),
            message_type(type(self)),
            self.prefetch,
            self.link,
        )

    def run(self) -> None:
        """Take and handle messages until asked to stop."""
        handled = 0
        interval = self.link.beat_interval
        while not self._finished and not self.link.stopping:  # between batches: it costs a syscall
            deadline = None if interval is None else time.monotonic() + interval
            try:
                for delivery in self._reader.receive(deadline):
                    self.link.beat(handled)  # before, or who hangs in it would count as idle
                    self._handle(delivery)
                    handled += 1
                    if self._done:
                        break
            except Interrupted:
                break
            self.link.beat(handled, idle=True)
        self._reader.close()

    @property
    def _done(self) -> bool:
        return self._finished or self.link.interrupted

    def _handle(self, delivery: Delivery) -> None:
        self.attempt, self.message_id = delivery.attempt, delivery.id
        context["message_id"] = delivery.id
        self.handle(delivery.message)
        del context["message_id"]
        self._reader.done(delivery)


def message_type(consumer: type) -> Any:
    """Return the type that a consumer's `handle` takes; Any if it does not say."""
    handle: Any = consumer.handle  # type: ignore[attr-defined]
    hints = typing.get_type_hints(handle)
    hints.pop("return", None)
    return next(iter(hints.values()), Any)
