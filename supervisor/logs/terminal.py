"""Where the pump prints: whatever root's standard output is, and never waiting for it.

It may be shared with the user's shell, so it is not made non-blocking: a terminal or a pipe is
opened anew for that, and a socket is told so for each message. A regular file never blocks.
"""

import errno
import os
import select
import socket
import stat

#: Bytes of a write at most where a new opening was refused: what a writable pipe surely takes.
SMALL_WRITE = 512

#: A file that cannot grow now, but may again.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class TerminalGone(Exception):  # noqa: N818 - it is a state
    """Nobody will ever read this output again: the terminal hung up, or the pipe was closed."""


class Terminal:
    """Takes bytes, as many as the reader keeps up with. Takes over the descriptor."""

    def __init__(self, fd: int) -> None:
        kind = os.fstat(fd).st_mode
        self._socket = socket.socket(fileno=fd) if stat.S_ISSOCK(kind) else None
        self._asks_first = False
        self.fd = fd
        self.can_poll = not stat.S_ISREG(kind)
        if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            self.fd = self._open_anew(fd)

    def _open_anew(self, fd: int) -> int:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            anew = os.open(f"/proc/self/fd/{fd}", flags)
        except OSError:  # it belongs to another user, or its reader is gone
            self._asks_first = True
            return fd
        os.close(fd)
        return anew

    def write(self, data: bytes) -> int:
        """Write what is taken now; returns how much.

        Raises:
            TerminalGone: there is nobody.

        """
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            if self._asks_first:
                return self._write_small(data)
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in _FULL:
                return 0
            raise TerminalGone(str(error)) from error

    def _write_small(self, data: bytes) -> int:
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        written = 0
        try:
            while written < len(data) and poll.poll(0):
                written += os.write(self.fd, data[written : written + SMALL_WRITE])
        except BlockingIOError:  # who else has it made it non-blocking: what went before is written
            pass
        return written
