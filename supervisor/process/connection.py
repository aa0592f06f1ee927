"""A supervisor's connection to a template, and the processes that belong to it."""

import os
from collections import deque
from collections.abc import Iterator

import msgspec

from supervisor.channel import Channel, DescriptorsLost
from supervisor.process import messages
from supervisor.process.heirs import Heirs

#: Replies that may wait for a supervisor that does not read; beyond, it counts as gone.
MAX_WAITING = 50_000
#: Requests served in one pass: other connections have their turn too.
MAX_REQUESTS = 64


class Process(msgspec.Struct, frozen=True):
    """A process that was asked for."""

    serial: int
    pid: int
    tag: int
    connection: "Connection"


class Connection:
    """One connection. ``opener``: the connection it was opened over, with its ``token``."""

    def __init__(
        self, channel: Channel[messages.Request], opener: "Connection | None", token: int
    ) -> None:
        self.channel, self.opener, self.token = channel, opener, token
        self.processes: dict[int, Process] = {}
        self.heirs = Heirs()
        self.closed = False
        self._waiting: deque[tuple[messages.Reply, int | None]] = deque()

    @property
    def waiting(self) -> bool:
        """Whether replies wait until the supervisor reads."""
        return bool(self._waiting)

    @property
    def overflowed(self) -> bool:
        """Whether the supervisor has left so much unread that it counts as gone."""
        return len(self._waiting) >= MAX_WAITING

    def receive(self) -> Iterator[tuple[messages.Request, list[int]]]:
        """Yield the requests that are there; raises OSError at the end of the connection."""
        for _ in range(MAX_REQUESTS):
            try:
                received = self.channel.receive()
            except BlockingIOError:
                return
            except DescriptorsLost as lost:
                received = lost.message, []
            if received is None:
                raise ConnectionResetError("closed by the supervisor")
            yield received
            if self.closed:
                return

    def send(self, reply: messages.Reply, fd: int | None = None) -> None:
        """Send a reply, now or when the supervisor reads. Takes over the descriptor."""
        if self.closed or self.overflowed:
            _close(fd)
            return
        self._waiting.append((reply, fd))
        if len(self._waiting) == 1:
            try:
                self.flush()
            except OSError:
                pass  # its end is read next

    def flush(self) -> None:
        """Send what waits, as far as the supervisor takes it."""
        while self._waiting:
            reply, fd = self._waiting[0]
            try:
                self.channel.send(reply, () if fd is None else (fd,))
            except BlockingIOError:
                return
            _close(fd)
            self._waiting.popleft()

    def close(self) -> None:
        """Close it; what waits is dropped."""
        self.closed = True
        self.channel.close()
        self.heirs.close()
        while self._waiting:
            _close(self._waiting.popleft()[1])


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)
