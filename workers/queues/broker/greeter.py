"""Who comes to the broker: connections are accepted, and have to say soon who they are."""

import math
import select
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Iterator

from workers.queues.frames import Kind, frame

#: Connections accepted in one pass.
MAX_ACCEPTS = 64
#: Connections at most; another one is told so, and closed.
MAX_CONNECTIONS = 4096
#: Seconds without accepting after descriptors ran out.
ACCEPT_PAUSE = 0.1
#: Seconds in which a connection has to say who it is.
HANDSHAKE_SECONDS = 5.0
_PEER = struct.Struct("3i")


class Greeter:
    """Accepts connections on a listening socket.

    ``due``: when `overdue` has something to do, by the monotonic clock; inf: never.
    """

    def __init__(self, listener: socket.socket, epoll: select.epoll) -> None:
        listener.setblocking(False)
        self._listener, self._epoll = listener, epoll
        self.fd = listener.fileno()
        epoll.register(listener, select.EPOLLIN)
        self._waiting: OrderedDict[int, float] = OrderedDict()  # no HELLO yet; until when
        self._paused = math.inf  # not accepting until then; inf: accepting
        self.due = math.inf

    def accept(self, connections: int) -> Iterator[tuple[socket.socket, int]]:
        """Yield those who have come, with their processes, when there are so many already."""
        for _ in range(MAX_ACCEPTS):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptors: leave them waiting for a moment, do not spin
                self._epoll.modify(self._listener, 0)
                self._paused = time.monotonic() + ACCEPT_PAUSE
                self._set_due()
                return
            sock.setblocking(False)
            if connections >= MAX_CONNECTIONS:
                _refuse(sock, f"the broker has {MAX_CONNECTIONS} connections, its limit")
                continue
            connections += 1
            self._waiting[sock.fileno()] = time.monotonic() + HANDSHAKE_SECONDS
            self._set_due()
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            yield sock, int(_PEER.unpack(peer)[0])

    def greeted(self, fd: int) -> None:
        """A connection has said who it is, or has gone."""
        if self._waiting.pop(fd, None) is not None:
            self._set_due()

    def overdue(self) -> list[int]:
        """Accept again, if that was paused; return who has not said in time who it is."""
        now = time.monotonic()
        if self._paused <= now:
            self._paused = math.inf
            self._epoll.modify(self._listener, select.EPOLLIN)
        found = [fd for fd, until in self._waiting.items() if until <= now]
        self._set_due()
        return found

    def _set_due(self) -> None:
        first = next(iter(self._waiting.values()), math.inf)
        self.due = min(first, self._paused)


def _refuse(sock: socket.socket, why: str) -> None:
    """Say why a connection is closed, if the peer reads."""
    try:
        sock.send(frame(Kind.REFUSED, why.encode()))
    except OSError:
        pass
    sock.close()
