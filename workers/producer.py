"""A producer: puts messages into a queue, and is held back when the queue is full."""

from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial
from typing import Any, Unpack

from supervisor.link import WorkerLink
from workers.queues.client.put_options import PutOptions
from workers.queues.client.writer import QueueWriter
from workers.queues.errors import Interrupted, QueueTimeout
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
        patience = self.link.beat_interval if timeout is None else timeout
        if timeout is not None or patience is None:
            self._writer.put(message, patience, confirm=confirm, **options)
        else:  # not confirmed at once: a wait for that which is over would put it once more
            put = partial(self._writer.put, message, patience, confirm=False, **options)
            try:
                put()
            except QueueTimeout:
                self._beating(put)
            if self._writer.confirms if confirm is None else confirm:
                self.flush()
        self._puts += 1

    def put_many(
        self,
        messages: Iterable[Any],
        timeout: float | None = None,
        *,
        confirm: bool | None = None,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put messages; see `QueueWriter.put_many`. Who has to beat puts them one by one."""
        if timeout is not None or self.link.beat_interval is None:
            self._writer.put_many(messages, timeout, confirm=confirm, **options)
            return
        for message in messages:
            self.put(message, confirm=False, **options)
        if self._writer.confirms if confirm is None else confirm:
            self.flush()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until what was put is in the queue; see `QueueWriter.flush`."""
        patience = self.link.beat_interval if timeout is None else timeout
        if timeout is not None or patience is None:
            self._writer.flush(patience)
        else:
            self._beating(partial(self._writer.flush, patience))

    def _beating(self, act: Callable[[], None]) -> None:
        """Do what may take longer than one has to beat, as often as it runs out of time."""
        while True:
            self.link.beat(self._puts, idle=True)
            try:
                act()
                return
            except QueueTimeout:
                pass

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
