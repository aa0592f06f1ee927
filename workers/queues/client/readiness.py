"""Waiting for a descriptor in an asyncio loop, by any number of tasks."""

import asyncio

from supervisor.link import WorkerLink


class Readiness:
    """Wakes every task that waits for something of one descriptor, whenever there is any."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._watched = -1

    async def wait(self, fd: int, seconds: float | None, *, writable: bool = False) -> None:
        """Wait until a descriptor is readable (or writable), or so many seconds."""
        loop = asyncio.get_running_loop()
        if self._watched not in (-1, fd):
            self._unwatch(loop)
        if self._watched == -1:
            self._watched = fd
            loop.add_reader(fd, self._wake)
        if writable:
            loop.add_writer(fd, self._wake)
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait({future}, timeout=seconds)
        finally:
            self._waiting.discard(future)
            if not self._waiting:
                self._unwatch(loop)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._watched != -1:
            loop.remove_reader(self._watched)
            loop.remove_writer(self._watched)
            self._watched = -1


async def stopped(link: WorkerLink) -> None:
    """Wait for a request to stop."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    fds = (link.fileno(), link.wakeup_fd)
    for fd in fds:
        loop.add_reader(fd, asked.set)
    try:
        while not link.stopping:
            await asked.wait()
            asked.clear()
    finally:
        for fd in fds:
            loop.remove_reader(fd)
