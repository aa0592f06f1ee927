"""A consumer's cursor: one number in shared memory, which it writes and the broker reads.

It is stored (a few dozen nanoseconds) before and after each message, and read only when its writer
is dead, so that acknowledgements may be late and few, and the broker still knows exactly what was
done and what was being worked on. It is sealed against shrinking: a broker that maps it cannot be
killed by truncating it.

    cell     chunk (46 bits) | MANY (1) | messages done (16) | BUSY (1)
    a batch  cell 1: where it ends, then cell 0: where it begins, BUSY and MANY

Each store is of one word, and cannot be torn. A batch takes two, and the first of them says nothing
by itself: cell 1 is looked at only if cell 0 says MANY, and then it was written before.
"""

import fcntl
import mmap
import os
from dataclasses import replace

from workers.queues.core.leases import Cursor

SIZE = mmap.PAGESIZE
#: The cell that the broker writes: 1 when it has taken back what the writer holds.
FENCE = SIZE // 8 - 1
#: Where a batch ends: a cell that a writer of one lane has to spare.
_END = 1
#: A bit of a cell; and where the messages that are done begin.
BUSY, DONE_SHIFT = 1, 1
_DONE_MASK = 0xFFFF
_MANY = 1 << 17
_CHUNK_SHIFT = 18


class CursorWriter:
    """A consumer's own end: a cell for each lane, and the fence.

    ``cells`` is there for loops that cannot afford a call for each message: ``cells[lane]`` is
    `at` of a chunk, the messages done shifted by `DONE_SHIFT`, and `BUSY` or not.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("cursor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, SIZE)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.cells = memoryview(mmap.mmap(self.fd, SIZE)).cast("Q")

    def busy(self, chunk: int, done: int, lane: int = 0) -> None:
        """The message after ``done`` others of this chunk is being worked on."""
        self.cells[lane] = chunk << _CHUNK_SHIFT | done << DONE_SHIFT | BUSY

    def busy_to(self, chunk: int, done: int, last: int, end: int) -> None:
        """What lies behind ``done`` messages of a chunk is being worked on, as one.

        Up to before message ``end`` of the chunk ``last``. Only with one lane, which was `idle`.
        """
        self.cells[_END] = last << _CHUNK_SHIFT | end << DONE_SHIFT
        self.cells[0] = chunk << _CHUNK_SHIFT | _MANY | done << DONE_SHIFT | BUSY

    def idle(self, chunk: int, done: int, lane: int = 0) -> None:
        """So many messages of this chunk are done, and none is being worked on."""
        self.cells[lane] = chunk << _CHUNK_SHIFT | done << DONE_SHIFT

    @property
    def fenced(self) -> bool:
        """Whether the broker has taken back what we have. To be asked after `busy`, not before."""
        return bool(self.cells[FENCE])

    def close(self) -> None:
        """Close the descriptor. The page stays while the broker has it mapped."""
        os.close(self.fd)


def at(chunk: int) -> int:
    """Return what a cell holds when nothing of a chunk is done, and none of it worked on."""
    return chunk << _CHUNK_SHIFT


class CursorReader:
    """The broker's end.

    Args:
        fd: the page's descriptor; it is closed.
        lanes: cells that are used.

    Raises:
        ValueError: the descriptor is not a sealed cursor.

    """

    def __init__(self, fd: int, lanes: int = 1) -> None:
        self._lanes = lanes
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
            if not seals & fcntl.F_SEAL_SHRINK or os.fstat(fd).st_size < SIZE:
                raise ValueError("the cursor is not sealed, or too small")
            self._map = mmap.mmap(fd, SIZE)
        except OSError as error:
            raise ValueError(f"no cursor: {error.strerror}") from error
        finally:
            os.close(fd)

    def cells(self) -> tuple[Cursor, ...]:
        """Where each lane of its writer is, or was."""
        page = memoryview(self._map).cast("Q")
        try:
            if self._lanes > 1:
                return tuple(_cursor(cell) for cell in page[: self._lanes])
            cell = page[0]
            return (_batch(cell, page[_END]) if cell & _MANY else _cursor(cell),)
        finally:
            page.release()

    def fence(self) -> None:
        """Tell its writer that what it holds was taken back: it has to connect anew.

        The last cell of the page says so. The writer looks there after it has said that it begins a
        message, and we look at its cells after we have written: one of the two sees the other.
        """
        self._map[8 * FENCE : SIZE] = (1).to_bytes(8, "little")

    def close(self) -> None:
        """Unmap it."""
        self._map.close()


def _batch(cell: int, end: int) -> Cursor:
    last = _cursor(end)
    return replace(_cursor(cell), last=last.chunk, end=last.done)


def _cursor(cell: int) -> Cursor:
    return Cursor(cell >> _CHUNK_SHIFT, cell >> DONE_SHIFT & _DONE_MASK, bool(cell & BUSY))
