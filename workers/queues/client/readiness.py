"""Waiting for a descriptor in an asyncio loop, by any number of tasks."""

import asyncio
from contextlib import suppress

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
            loop.add_reader(fd, self.wake)
        if writable:
            loop.add_writer(fd, self.wake)
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait({future}, timeout=seconds)
        finally:
            self._waiting.discard(future)
            if not self._waiting:
                self._unwatch(loop)

    def wake(self) -> None:
        """Wake them all; also when the descriptor was closed, which no loop is told of."""
        self._unwatch(asyncio.get_running_loop())  # the next one may have the same number
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._watched != -1:
            with suppress(OSError):  # it is closed; its loop has forgotten it all the same
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
