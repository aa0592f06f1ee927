"""Looking into a pipe without taking anything out: what makes a log pump safe to kill.

A line stays in its pipe, which root holds, until it is printed. A pump that is killed in between
prints it again at most; it cannot lose it.
"""

import ctypes
import fcntl
import os

#: Bytes looked at in one go. A writer that waits for room is woken once for all of them.
CHUNK = 256 * 1024
#: Wanted capacity of the pipe that the copies pass through: more slots than any other pipe has.
SCRATCH = 1 << 20
_SPLICE_F_NONBLOCK = 2

_libc = ctypes.CDLL(None, use_errno=True)


class Peeker:
    """Copies what is in a pipe, by way of one of its own (tee(2))."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        widen(self._write)

    def peek(self, fd: int, limit: int = CHUNK) -> bytes:
        """Return what is at the front of a pipe; b"" if there is nothing."""
        count = _libc.tee(fd, self._write, limit, _SPLICE_F_NONBLOCK)
        if count > 0:
            return os.read(self._read, count)
        if count < 0 and (code := ctypes.get_errno()) not in (11, 4):  # EAGAIN, EINTR
            raise OSError(code, os.strerror(code))
        return b""

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._read)
        os.close(self._write)


def widen(fd: int, size: int = SCRATCH) -> bool:
    """Ask for a larger pipe; False: it is over the user's limit, and the usual size has to do."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:
        return False
    return True
