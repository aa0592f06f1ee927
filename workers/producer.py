"""A producer: puts messages into a queue, and is held back when the queue is full."""

import time
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import Any, Unpack

from supervisor.link import WorkerLink
from workers.queues.client.put_options import PutOptions
from workers.queues.client.writer import BATCH, QueueWriter
from workers.queues.errors import Interrupted
from workers.worker import Worker, queue_address, queue_name

#: Seconds that a producer which was asked to stop waits for its last messages to be confirmed.
LAST_CONFIRMATIONS = 1.0


class Producer(Worker):
    """Base of workers that feed a queue (``Child(..., queue=...)``).

    Override `produce` to yield messages (``def`` or ``async def``), or `run` to call `put`. When it
    returns, everything is flushed and the process ends with status 0. A request to stop ends it in
    order, also while the queue is full: then it waits a second for what was put to be confirmed.
    """

    needs_queue = True
    _writer: QueueWriter
    _puts = 0

    def produce(self) -> Iterable[Any] | AsyncIterable[Any]:
        """Yield messages."""
        raise NotImplementedError(f"{type(self).__name__} has neither produce() nor run()")

    def put(
        self,
        message: Any,
        timeout: float | None = None,
        *,
        confirm: bool | None = None,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put one message; see `QueueWriter.put`.

        Who is held back by a full queue is neither stuck nor stalled: it goes on beating.
        """
        if options or confirm is not None:
            self._writer.put(message, timeout, confirm=confirm, **options)
        else:  # half of the time that it takes
            self._writer.put(message, timeout)
        self._puts += 1

    def put_many(
        self,
        messages: Iterable[Any],
        timeout: float | None = None,
        *,
        confirm: bool | None = None,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put messages; see `QueueWriter.put_many`. Who has to beat does so between chunks."""
        if self.link.beat_interval is None:
            self._writer.put_many(messages, timeout, confirm=confirm, **options)
            return
        for chunk in in_time(messages, self.link.beat_interval):
            self._writer.put_many(chunk, timeout, confirm=False, **options)
            self._puts += len(chunk)
            self.link.beat(self._puts)
        if self._writer.confirms if confirm is None else confirm:
            self.flush(timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until what was put is in the queue; see `QueueWriter.flush`."""
        self._writer.flush(timeout)

    def connect(self) -> None:
        """Connect to the queue."""
        name = queue_name(self, self.link)
        self._writer = QueueWriter(name, queue_address(self.link), self.link)

    def run(self) -> None:
        """Put what `produce` yields, until it is exhausted or we are asked to stop."""
        messages = self.produce()
        if isinstance(messages, AsyncIterable):
            from workers.loops.source import put_all  # with asyncio: only for those who use it

            put_all(messages, self._writer, self.link)
            return
        for message in messages:
            self.put(message)
            self.link.beat(self._puts)
            if self.link.interrupted:
                break

    def supervised(self, link: WorkerLink) -> None:
        """Live: called by the runtime."""
        try:
            super().supervised(link)
            if not link.interrupted:
                self._writer.close()
        except Interrupted:
            pass
        if link.interrupted and hasattr(self, "_writer"):  # not while it was being connected
            lost = self._writer.close_within(LAST_CONFIRMATIONS)
            if lost:
                from workers.log import log  # with structlog: 15 ms for all who need it not

                log.warning("stopped before all was confirmed", messages=lost)


def in_time(messages: Iterable[Any], seconds: float) -> Iterator[list[Any]]:
    """Cut what comes into full chunks; into smaller ones, if it comes so slowly."""
    chunk: list[Any] = []
    due = time.monotonic() + seconds
    for message in messages:
        chunk.append(message)
        if len(chunk) == BATCH or time.monotonic() >= due:
            yield chunk
            chunk, due = [], time.monotonic() + seconds
    if chunk:
        yield chunk
