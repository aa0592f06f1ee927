"""Large bodies in shared memory: a ring that one end of a connection writes, and the other reads.

    ┌──────┬────────────────────────────────────────┐
    │ tail │ ░░░░ body ▓▓▓▓▓▓▓▓▓▓ body ▓▓▓▓▓ ░░░░░░ │   the frame on the socket says where
    └──────┴────────────────────────────────────────┘
     the reader's    tail ──►            head ──► (the writer's own)

A body of 64 KiB costs two copies and two dozen pages of the kernel's on a socket, and one copy in
here, to where the processor has it at hand. Positions count bytes for ever. The reader says in the
first page how far it is, and copies what it keeps before it says so: neither end waits for the
other one in here, holds a lock, or keeps anything that dies with its peer. A ring without room, or
a reader that says nonsense, means the socket. It is sealed: nobody can be killed by truncating it.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Sequence

#: Bytes of bodies that a ring holds, and of all of it.
ROOM = 1 << 20
SIZE = mmap.PAGESIZE + ROOM
#: Bytes of a body that is worth it, and of one that leaves room for others.
LEAST, MOST = 1 << 15, ROOM // 4
#: Where a body is: its position, and its bytes.
PLACE = struct.Struct("<QI")

Buffer = bytes | bytearray | memoryview


def make() -> int:
    """Make the memory of a ring; return its descriptor."""
    fd = os.memfd_create("ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SIZE)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return fd


class _Ring:
    """What both ends have: the memory.

    Args:
        fd: its descriptor; it stays open.

    Raises:
        ValueError: it is not a sealed ring.

    """

    def __init__(self, fd: int) -> None:
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
            if not seals & fcntl.F_SEAL_SHRINK or os.fstat(fd).st_size != SIZE:
                raise ValueError("the ring is not sealed, or of another size")
            memory = mmap.mmap(fd, SIZE)
        except OSError as error:
            raise ValueError(f"no ring: {error.strerror}") from error
        self._tail = memoryview(memory)[:8].cast("Q")
        self._bodies = memoryview(memory)[mmap.PAGESIZE :]


class RingWriter(_Ring):
    """The end that puts bodies in."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._head = 0

    def write(self, parts: Sequence[Buffer]) -> bytes | None:
        """Put in a body; return its `PLACE`, or None if there is no room, or it is too large."""
        size = sum(map(len, parts))
        start = self._head
        if start % ROOM + size > ROOM:
            start += -start % ROOM  # a body lies in one piece: from the front again
        if size > MOST or not 0 <= start + size - self._tail[0] <= ROOM:
            return None
        at = start % ROOM
        for part in parts:
            self._bodies[at : at + len(part)] = part
            at += len(part)
        self._head = start + size
        return PLACE.pack(start, size)


class RingReader(_Ring):
    """The end that takes bodies out."""

    def at(self, place: Buffer) -> memoryview:
        """Show the body at a `PLACE`: to be copied by whoever keeps it, before it is `taken`.

        Raises:
            ValueError: it is no place in a ring.

        """
        if len(place) != PLACE.size:
            raise ValueError("no place in a ring")
        start, size = PLACE.unpack(place)
        first = start % ROOM
        if first + size > ROOM:
            raise ValueError("a place beyond the end of the ring")
        return self._bodies[first : first + size]

    def taken(self, place: Buffer) -> int:
        """Leave the room of a body, and of what lies before it, to the writer; return its bytes."""
        start, size = PLACE.unpack(place)
        self._tail[0] = (start + size) & 0xFFFFFFFFFFFFFFFF
        return int(size)
