"""What the pump waits for: the pipes, and everything else; while it naps, for everything else.

A pipe that an epoll watches costs its writer a sixth more with each line: pipes that have something
at every look anyway *rest*, and are watched again when one finds nothing.
"""

import select
from collections.abc import Iterable


class Waiting:
    """Two epolls. ``others`` is watched by whoever has something to wait for that is no pipe."""

    def __init__(self) -> None:
        self._all = select.epoll()
        self._resting: set[int] = set()
        self.others = select.epoll()
        self._all.register(self.others.fileno(), select.EPOLLIN)

    def add_pipe(self, fd: int) -> None:
        """Watch a pipe: edge-triggered, because what was seen may stay in it."""
        self._all.register(fd, select.EPOLLIN | select.EPOLLET)

    def remove_pipe(self, fd: int) -> None:
        """Watch a pipe no more. Closing alone would not do, where others have it open."""
        if fd in self._resting:
            self._resting.remove(fd)
        else:
            self._all.unregister(fd)

    def rest(self, fds: Iterable[int]) -> None:
        """Do not watch pipes that are looked at in any case."""
        for fd in fds:
            if fd not in self._resting:
                self._all.unregister(fd)
                self._resting.add(fd)

    def watch(self, fd: int) -> None:
        """Watch a pipe again. If something has come meanwhile, that is told, too."""
        if fd in self._resting:
            self._resting.remove(fd)
            self.add_pipe(fd)

    def wait(self, timeout: float | None) -> list[int]:
        """Return the descriptors that something happened to; at the latest after so many seconds.

        None: wait for ever.
        """
        fds = [fd for fd, _ in self._all.poll(timeout)]
        if self.others.fileno() in fds:
            fds.remove(self.others.fileno())
            fds += self.nap(0.0)
        return fds

    def nap(self, seconds: float) -> list[int]:
        """Wait as `wait` does, but let the pipes be."""
        return [fd for fd, _ in self.others.poll(seconds)]
