"""A consumer's cursor: one number in shared memory, which it writes and the broker reads.

It is stored (a few dozen nanoseconds) before and after each message, and read only when its writer
is dead, so that acknowledgements may be late and few, and the broker still knows exactly what was
done and what was being worked on. It is sealed against shrinking: a broker that maps it cannot be
killed by truncating it.
"""

import fcntl
import mmap
import os

from workers.queues.core import Cursor

SIZE = mmap.PAGESIZE
_BUSY = 1
_DONE_SHIFT, _DONE_MASK = 1, 0x1FFFF
_CHUNK_SHIFT = 18


class CursorWriter:
    """A consumer's own end."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("cursor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, SIZE)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self._cell = memoryview(mmap.mmap(self.fd, SIZE)).cast("Q")

    def busy(self, chunk: int, done: int) -> None:
        """The message after ``done`` others of this chunk is being worked on."""
        self._cell[0] = chunk << _CHUNK_SHIFT | done << _DONE_SHIFT | _BUSY

    def idle(self, chunk: int, done: int) -> None:
        """So many messages of this chunk are done, and none is being worked on."""
        self._cell[0] = chunk << _CHUNK_SHIFT | done << _DONE_SHIFT


class CursorReader:
    """The broker's end.

    Raises:
        ValueError: the descriptor is not a sealed cursor.

    """

    def __init__(self, fd: int) -> None:
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
            if not seals & fcntl.F_SEAL_SHRINK or os.fstat(fd).st_size < SIZE:
                raise ValueError("the cursor is not sealed, or too small")
            self._map = mmap.mmap(fd, SIZE, prot=mmap.PROT_READ)
        except OSError as error:
            raise ValueError(f"no cursor: {error.strerror}") from error
        finally:
            os.close(fd)

    def read(self) -> Cursor:
        """Where its writer is, or was."""
        value = int.from_bytes(self._map[:8], "little")
        done = value >> _DONE_SHIFT & _DONE_MASK
        return Cursor(value >> _CHUNK_SHIFT, done, bool(value & _BUSY))

    def close(self) -> None:
        """Unmap it."""
        self._map.close()
