"""Raw capture: the bytes of each stream, as they come, in files of its own.

    slot's pipe ──splice──► staging pipe ──splice──► file

The kernel moves the bytes; each is in exactly one of the three places, whenever the pump is killed,
and its successor moves on what it finds in the middle. Nothing is parsed. Only where lines are
limited or printed, too, are they looked at.
"""

import time

from supervisor.logs.delivery import Delivery, child_of
from supervisor.logs.ledger import Note
from supervisor.logs.source import HOLD, Block, LogPipe


class RawDelivery(Delivery):
    """Delivers bytes."""

    _noted: Note | None = None

    def home(self, path: str, stream: str) -> str:
        """Return the directory of a stream's file: shop/charge/0.out for shop/charge.0."""
        slot = path.rpartition("/")[2].partition(".")[2]
        short = stream.removeprefix("std")
        return f"{child_of(path)}/{slot}.{short}" if slot else f"{child_of(path)}/{short}"

    def _key(self, path: str, stream: str) -> str:
        return self.home(path, stream)

    def _home_of(self, key: str) -> str:
        return key

    def move(self, pipe: LogPipe, most: int) -> int | None:
        """Move what is in a pipe; None: it has to be looked at, because it is printed."""
        if self._output is not None:
            return None
        count = self._move(pipe, most, exactly=False)
        self._took(pipe, count)
        pipe.bytes += count
        return count

    def as_it_is(self, pipe: LogPipe, data: bytes) -> tuple[Block, int] | None:
        """Take a part of a line once it is large."""
        return None if len(data) < HOLD else (pipe.block(data), len(data))

    def deliver(self, pipe: LogPipe, block: Block, count: int) -> None:
        """Deliver a block that was looked at."""
        self._took(pipe, count)
        self._mark_lost(pipe)
        self._move(pipe, count, exactly=True)
        self._print(block, b"", time.time())

    def _move(self, pipe: LogPipe, most: int, *, exactly: bool) -> int:
        assert self._sink is not None
        path, stream = pipe.source.path, pipe.source.stream
        home = self.home(path, stream)
        file = self._sink.prepare(home, most if exactly else 1)
        note = Note(path, stream)
        if note != self._noted or self._ledger.lost:
            self._ledger.note(note)
            self._noted = note
        staged = self._ledger.stage(pipe.fd, most)
        moved = 0
        if file is not None and staged:
            moved = self._sink.splice(file, self._ledger.out, staged) or 0
            self._ledger.staged -= moved
        if self._ledger.staged:
            data = self._ledger.take()
            self._sink.keep(home, home, data, data.count(b"\n"))
            self._ledger.note_lost()
            self._noted = None
        return staged

    def drop(self, pipe: LogPipe, count: int, lines: int) -> None:
        """Throw lines away, and count them."""
        super().drop(pipe, count, lines)
        self._noted = None

    def _finish(self, note: Note, data: bytes, written: bool) -> None:
        assert self._sink is not None
        home = self.home(note.path, note.stream)
        file = self._sink.prepare(home, len(data))
        moved = 0
        if file is not None:
            moved = self._sink.splice(file, self._ledger.out, len(data)) or 0
        self._ledger.staged -= moved
        if self._ledger.staged:
            self._sink.keep(home, home, self._ledger.take(), data.count(b"\n", moved))
