"""When a process counts as started: four ways for it to say so.

* init: its message Ready on the link (the default);
* exec: the end of its link, which closes when the program is executed;
* tcp:PORT: 127.0.0.1:PORT accepts a connection;
* notify: READY=1 on the datagram socket named by NOTIFY_SOCKET (sd_notify).
"""

import errno
import os
import socket
from collections.abc import Callable

from supervisor.definition import ChildDefinition
from supervisor.loop import WRITE, Loop, TimerHandle

#: Seconds between two attempts to connect; a refused attempt on loopback costs microseconds.
PROBE_INTERVAL = 0.02
#: Bytes of one sd_notify datagram.
MAX_DATAGRAM = 4096


class Readiness:
    """How one process gets ready; this base waits for its message on the link."""

    by_message = True
    by_exec = False

    def __init__(self) -> None:
        self.environment: dict[str, str | None] = {}

    def prepare(self) -> None:
        """A process is to be started; raises OSError when that cannot be got ready for."""

    def begin(self) -> None:
        """The process exists: start looking."""

    def close(self) -> None:
        """It is ready, or gone: stop looking."""


class ExecReadiness(Readiness):
    """Ready when its program was executed."""

    by_message = False
    by_exec = True


class TcpReadiness(Readiness):
    """Ready when its port accepts."""

    by_message = False

    def __init__(self, loop: Loop, port: int, ready: Callable[[], None]) -> None:
        super().__init__()
        self._loop, self._port, self._ready = loop, port, ready
        self._socket: socket.socket | None = None
        self._timer: TimerHandle | None = None

    def begin(self) -> None:
        """Try to connect."""
        self._timer = None
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        except OSError:  # no descriptors are left
            self._timer = self._loop.call_later(PROBE_INTERVAL, self.begin)
            return
        self._socket.setblocking(False)
        outcome = self._socket.connect_ex(("127.0.0.1", self._port))
        if outcome == errno.EINPROGRESS:
            self._loop.watch(self._socket, lambda _mask: self._connected(), WRITE)
        else:
            self._concluded(outcome)

    def close(self) -> None:
        """Stop trying."""
        if self._timer is not None:
            self._timer.cancel()
        self._close_socket()

    def _connected(self) -> None:
        assert self._socket is not None
        self._concluded(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _concluded(self, outcome: int) -> None:
        # A port of the ephemeral range can connect to itself; that is nobody's readiness.
        itself = outcome == 0 and self._connects_to_itself()
        self._close_socket()
        if outcome == 0 and not itself:
            self._ready()
        else:
            self._timer = self._loop.call_later(PROBE_INTERVAL, self.begin)

    def _connects_to_itself(self) -> bool:
        assert self._socket is not None
        try:
            return bool(self._socket.getsockname() == self._socket.getpeername())
        except OSError:
            return False

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._loop.unwatch(self._socket)
            self._socket.close()
            self._socket = None


class NotifyReadiness(Readiness):
    """Ready when it says READY=1 to its NOTIFY_SOCKET, or Ready on its link."""

    def __init__(self, loop: Loop, directory: str, ready: Callable[[], None]) -> None:
        super().__init__()
        self._loop, self._ready = loop, ready
        # No longer than the control socket's name: where that fits, this does.
        self._path = os.path.join(directory, f"n-{os.urandom(4).hex()}")
        self._socket: socket.socket | None = None
        self.environment = {"NOTIFY_SOCKET": self._path}

    def prepare(self) -> None:
        """Make the socket, if it was not made for an earlier try."""
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                made.setblocking(False)
                made.bind(self._path)
            except OSError:
                made.close()
                raise
            self._socket = made
            self._loop.watch(made, lambda _mask: self._read())

    def close(self) -> None:
        """Remove the socket."""
        if self._socket is not None:
            self._loop.unwatch(self._socket)
            self._socket.close()
            self._socket = None
            try:
                os.unlink(self._path)
            except OSError:  # it was wiped, or cannot be written to any more: it stays
                pass

    def _read(self) -> None:
        assert self._socket is not None
        try:
            datagram = self._socket.recv(MAX_DATAGRAM)
        except BlockingIOError:
            return
        if b"READY=1" in datagram.split(b"\n"):
            self._ready()


def readiness_of(
    definition: object, loop: Loop, directory: str, ready: Callable[[], None]
) -> Readiness:
    """Return how a process with this definition gets ready; ``ready`` is called when it is."""
    if isinstance(definition, ChildDefinition):
        if definition.ready == "exec":
            return ExecReadiness()
        if definition.ready == "notify":
            return NotifyReadiness(loop, directory, ready)
        if definition.ready.startswith("tcp:"):
            return TcpReadiness(loop, int(definition.ready[4:]), ready)
    return Readiness()
