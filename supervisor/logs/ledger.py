"""What makes a killed pump's last block of lines neither lost nor doubled.

    slot's pipe ──splice──► staging pipe ──► file ──► (terminal) ──► emptied
                    note: which file, which offset     note: it is written

Root holds the staging pipe and the memory that the notes are in. A successor that finds something
in the staging pipe cuts the file back to the noted offset and writes the block again, or, if it had
been written, goes on behind that. Each step is one system call that a kill cannot cut in two: of a
write to memory that is so for a page. So what may be larger, the counts of lost lines, is written
beside those before, and the note says which of the two are meant.

    page 0: written?, which counts, the note | counts | counts
"""

import os

import msgspec

from supervisor.logs.peek import SCRATCH, Peeker, widen

#: Bytes of a note, and what counts of lost lines take at most: those of ten thousand slots.
PAGE, MAX_COUNTS = 4096, 1 << 20


class Note(msgspec.Struct, frozen=True):
    """The block in the staging pipe: who wrote it, and where in which file it goes.

    ``continuation``: it goes on where the line before it stopped; ``continues``: what follows goes
    on where it stops.
    """

    path: str = ""
    stream: str = ""
    pid: int | None = None
    incarnation: int | None = None
    inode: int = -1
    offset: int = 0
    continuation: bool = False
    continues: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Note).decode
_decode_counts = msgspec.msgpack.Decoder(dict[str, int]).decode


class Ledger:
    """The staging pipe and the notes. Without descriptors it has its own, which die with it.

    Args:
        fds: "staging_in", "staging_out" and "notes", as `descriptors` makes them.

    """

    def __init__(self, fds: dict[str, int] | None = None) -> None:
        fds = fds or descriptors()
        self._in, self.out, self._memory = fds["staging_in"], fds["staging_out"], fds["notes"]
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self.lost: dict[str, int] = {}  # lines dropped and not marked yet, by path
        self._counts = 0  # which of the two are meant: 1 or 2; 0: none
        self.staged = 0
        self._noted = Note()

    def recover(self, peeker: Peeker) -> tuple[Note, bytes, bool]:
        """Return what a predecessor was doing: its note, the block (or b""), whether written."""
        memory = os.pread(self._memory, PAGE, 0)
        note = Note()
        if memory:
            note = _decode(memory[4 : 4 + int.from_bytes(memory[2:4])])
            self._counts = memory[1]
        if self._counts:
            counts = os.pread(self._memory, MAX_COUNTS, self._place)
            size = int.from_bytes(counts[:4])
            self.lost.update(_decode_counts(counts[4 : 4 + size]))  # others count in it, too
        block = peeker.peek(self.out, SCRATCH)
        self.staged = len(block)
        return note, block, memory[:1] == b"\1"

    def note(self, note: Note) -> None:
        """Remember what is going to be staged."""
        self._noted = note
        self._remember(b"\0")

    def _remember(self, written: bytes) -> None:
        self._counts = self._remember_lost() if self.lost else 0
        body = _encode(self._noted)
        page = written + bytes([self._counts]) + len(body).to_bytes(2) + body
        assert len(page) <= PAGE
        os.pwrite(self._memory, page, 0)

    def _remember_lost(self) -> int:
        counts = _encode(self.lost)
        if len(counts) > MAX_COUNTS - 4:  # a kill loses the counts, but no line
            return 0
        self._counts = 2 if self._counts == 1 else 1
        os.pwrite(self._memory, len(counts).to_bytes(4) + counts, self._place)
        return self._counts

    @property
    def _place(self) -> int:
        return PAGE + (self._counts - 1) * MAX_COUNTS

    def note_lost(self) -> None:
        """Remember `lost`, while nothing is staged."""
        self.note(Note())

    def stage(self, fd: int, count: int) -> int:
        """Move the front of a pipe; returns how much fitted: all, if `Peeker` has seen it."""
        while self.staged < count:
            try:
                moved = os.splice(fd, self._in, count - self.staged, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                break
            if not moved:
                break
            self.staged += moved
        return self.staged

    def written(self) -> None:
        """Remember that the block is in its file, or counted among the lost."""
        if self.lost or self._counts:
            self._remember(b"\1")
        else:
            os.pwrite(self._memory, b"\1", 0)

    def take(self) -> bytes:
        """Take the block back."""
        data = b""
        while len(data) < self.staged:
            data += os.read(self.out, self.staged - len(data))
        self.staged = 0
        return data

    def clear(self) -> None:
        """Be done with the block."""
        while self.staged > 0:
            try:
                self.staged -= os.splice(
                    self.out, self._null, self.staged, flags=os.SPLICE_F_NONBLOCK
                )
            except BlockingIOError:
                self.staged = 0


def descriptors() -> dict[str, int]:
    """Make what has to outlive a pump; each closes on exec."""
    out, into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    widen(into)
    memory = os.memfd_create("log notes", os.MFD_CLOEXEC)
    return {"staging_in": into, "staging_out": out, "notes": memory}
