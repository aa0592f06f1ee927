"""A producer: puts messages into a queue, and is held back when the queue is full."""

from collections.abc import Iterable
from typing import Any

from workers.queues.errors import Interrupted, QueueFull
from workers.queues.writer import QueueWriter
from workers.worker import Worker, queue_address, queue_name


class Producer(Worker):
    """Base of workers that feed a queue (``Child(..., queue=...)``).

    Override `produce` to yield messages, or `run` to call `put`. When it returns, everything is
    flushed and the process ends with status 0. A request to stop while the queue is full ends it
    at once, in order: what was put before is in the queue.
    """

    _writer: QueueWriter
    _puts = 0

    def produce(self) -> Iterable[Any]:
        """Yield messages."""
        raise NotImplementedError(f"{type(self).__name__} has neither produce() nor run()")

    def put(self, message: Any, timeout: float | None = None) -> None:
        """Put one message; see `QueueWriter.put`.

        Who is held back by a full queue is neither stuck nor stalled: it goes on beating.
        """
        patience = self.link.beat_interval if timeout is None else timeout
        while True:
            try:
                self._writer.put(message, patience)
                break
            except QueueFull:
                if timeout is not None:
                    raise
                self.link.beat(self._puts, idle=True)
        self._puts += 1

    def put_many(self, messages: Iterable[Any], timeout: float | None = None) -> None:
        """Put messages; see `QueueWriter.put_many`."""
        self._writer.put_many(messages, timeout)

    def flush(self) -> None:
        """Wait until what was put is in the queue."""
        self._writer.flush()

    def connect(self) -> None:
        """Connect to the queue."""
        name = queue_name(self, self.link)
        self._writer = QueueWriter(name, queue_address(self.link), self.link)

    def run(self) -> None:
        """Put what `produce` yields, until it is exhausted or we are asked to stop."""
        for message in self.produce():
            self.put(message)
            self.link.beat(self._puts)
            if self.link.interrupted:
                break

    def supervised(self, link: Any) -> None:
        """Live: called by the runtime."""
        try:
            super().supervised(link)
            self._writer.close()
        except Interrupted:
            pass
