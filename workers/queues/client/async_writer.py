"""The producer's end of a queue, in an asyncio loop."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Unpack

from workers.queues.client.caller import Calling
from workers.queues.client.put_options import PutOptions
from workers.queues.client.readiness import Readiness
from workers.queues.client.writer import QueueWriter
from workers.queues.errors import QueueUnavailable, no_room

#: Seconds without a broker before giving up; between two attempts to reach it.
RECONNECT_LIMIT, PAUSE = 30.0, 0.05


class AsyncQueueWriter:
    """Puts messages into a queue without blocking the loop. Any number of tasks may use one.

    Args:
        writer: does it; nobody else should wait by it meanwhile.

    """

    def __init__(self, writer: QueueWriter) -> None:
        self._writer = writer
        self._readiness = Readiness()

    async def put(
        self,
        message: Any,
        timeout: float | None = None,
        *,
        confirm: bool | None = None,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put one message. Args and errors are those of `QueueWriter.put`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        await self._until(self._writer.has_room, deadline)
        self._writer.put(message, 0.0, confirm=False, **options)
        if self._writer.confirms if confirm is None else confirm:
            await self._until(self._writer.is_confirmed, deadline)

    async def put_many(
        self,
        messages: Iterable[Any],
        timeout: float | None = None,
        *,
        confirm: bool | None = None,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put messages. Args and errors are those of `QueueWriter.put_many`."""
        for message in messages:
            await self.put(message, timeout, confirm=False, **options)
        if self._writer.confirms if confirm is None else confirm:
            await self.flush(timeout)

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything is confirmed. Errors are those of `QueueWriter.flush`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        await self._until(self._writer.is_confirmed, deadline)

    async def call(
        self, message: Any, timeout: float | None = None, **options: Unpack[PutOptions]
    ) -> Any:
        """Put a message, and wait for its result, by a thread. See `QueueWriter.call`.

        Cancelled, it is taken back, unless somebody handles it.
        """
        chosen = self._writer.routing.of(message, options)
        calling = Calling(self._writer.callers, message, chosen, timeout)
        try:
            return await asyncio.to_thread(calling.run)
        except asyncio.CancelledError:
            calling.give_up()
            raise

    async def _until(self, there: Callable[[], bool], deadline: float | None) -> None:
        loop, since = asyncio.get_running_loop(), time.monotonic()
        gone = since + RECONNECT_LIMIT
        while True:
            try:
                if there():
                    self._readiness.wake()  # it may have read what others wait for
                    return
                gone = time.monotonic() + RECONNECT_LIMIT
            except QueueUnavailable:
                if time.monotonic() >= (gone if deadline is None else min(gone, deadline)):
                    raise
                await asyncio.sleep(PAUSE)
                continue
            door = self._writer.waits_on(partial(_tell, loop, self._readiness))
            if deadline is not None and time.monotonic() >= deadline:
                raise no_room(self._writer.queue, time.monotonic() - since, door.welcome)
            if door.connected:  # else the next look connects
                seconds = door.patience(deadline)
                await self._readiness.wait(door.fileno(), seconds, writable=door.backlog)
                door.rest(deadline)


def _tell(loop: asyncio.AbstractEventLoop, readiness: Readiness) -> None:
    """Wake whoever waits for a connection that has ended: the loop has forgotten its descriptor."""
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(readiness.wake)
