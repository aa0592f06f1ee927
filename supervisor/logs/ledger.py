"""What makes a killed pump's last block of lines neither lost nor doubled.

    slot's pipe ──splice──► staging pipe ──► file ──► (terminal) ──► emptied
                    note: which file, which offset     note: it is written

Root holds the staging pipe and the memory that the notes are in. A successor that finds something
in the staging pipe cuts the file back to the noted offset and writes the block again, or, if it had
been written, goes on behind that. Each step is one system call that a kill cannot cut in two.
"""

import os

import msgspec

from supervisor.logs.peek import SCRATCH, Peeker, widen

#: Bytes of memory that notes may take.
MAX_NOTE = 1 << 16


class Note(msgspec.Struct, frozen=True):
    """The block in the staging pipe: who wrote it, and where in which file it goes.

    ``continuation``: it goes on where the line before it stopped; ``continues``: what follows goes
    on where it stops. ``lost``: lines dropped and not marked yet, by path.
    """

    path: str = ""
    stream: str = ""
    pid: int | None = None
    incarnation: int | None = None
    inode: int = -1
    offset: int = 0
    continuation: bool = False
    continues: bool = False
    lost: dict[str, int] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Note).decode


class Ledger:
    """The staging pipe and the notes. Without descriptors it has its own, which die with it.

    Args:
        fds: "staging_in", "staging_out" and "notes", as `descriptors` makes them.

    """

    def __init__(self, fds: dict[str, int] | None = None) -> None:
        fds = fds or descriptors()
        self._in, self.out, self._memory = fds["staging_in"], fds["staging_out"], fds["notes"]
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self.lost: dict[str, int] = {}
        self.staged = 0
        self._noted = Note()

    def recover(self, peeker: Peeker) -> tuple[Note, bytes, bool]:
        """Return what a predecessor was doing: its note, the block (or b""), whether written."""
        memory = os.pread(self._memory, MAX_NOTE, 0)
        note = Note()
        if len(memory) > 5:
            size = int.from_bytes(memory[1:5], "little")
            note = _decode(memory[5 : 5 + size])
        self.lost.update(note.lost)  # the same dict: others count in it, too
        block = peeker.peek(self.out, SCRATCH)
        self.staged = len(block)
        return note, block, memory[:1] == b"\1"

    def note(self, note: Note) -> None:
        """Remember what is going to be staged."""
        self._noted = note
        self._remember(b"\0")

    def _remember(self, written: bytes) -> None:
        note = self._noted
        if self.lost:
            note = msgspec.structs.replace(note, lost=self.lost)
        body = _encode(note)
        if len(body) <= MAX_NOTE - 5:
            os.pwrite(self._memory, written + len(body).to_bytes(4, "little") + body, 0)

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
        if self.lost:
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
