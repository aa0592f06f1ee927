"""The loop of a producer whose ``produce`` is an asynchronous generator."""

import asyncio
from collections.abc import AsyncIterable, Awaitable
from typing import Any

from supervisor.link import WorkerLink
from workers.queues.client.async_writer import AsyncQueueWriter
from workers.queues.client.readiness import stopped
from workers.queues.client.writer import QueueWriter


def put_all(messages: AsyncIterable[Any], writer: QueueWriter, link: WorkerLink) -> None:
    """Put what comes, until it is exhausted or the worker is asked to stop."""
    asyncio.run(_put_all(messages, AsyncQueueWriter(writer), link))


async def _put_all(
    messages: AsyncIterable[Any], writer: AsyncQueueWriter, link: WorkerLink
) -> None:
    stop = asyncio.ensure_future(stopped(link))
    source, count = aiter(messages), 0
    try:
        while (message := await _or(stop, anext(source, _END))) is not _END:
            putting = asyncio.ensure_future(_or(stop, writer.put(message)))
            while not (await asyncio.wait({putting}, timeout=link.beat_interval))[0]:
                link.beat(count, idle=True)  # it is held back, and neither stuck nor stalled
            putting.result()
            count += 1
            link.beat(count)
    except _Stopped:
        pass
    finally:
        stop.cancel()


class _Stopped(Exception):  # noqa: N818
    """A request to stop came first."""


_END = object()


async def _or(stop: asyncio.Future[None], work: Awaitable[Any]) -> Any:
    """Do it, unless the request to stop comes first."""
    working = asyncio.ensure_future(work)
    await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        return working.result()
    working.cancel()
    raise _Stopped
