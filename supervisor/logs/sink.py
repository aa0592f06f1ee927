"""Lines on their way into files, also while files cannot be written.

    WRITING ──error──► FAILING: the newest lines stay in memory, older ones are dropped and counted
       ▲                  │ every `RETRY` seconds
       └──────────────────┘ a mark with the count, then what was kept

A full disk first gets its archives deleted and the ballast released.
"""

import os
import select
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from supervisor.logs.lines import Line
from supervisor.logs.logfile import LogFile
from supervisor.logs.messages import FileOptions
from supervisor.logs.record import timestamp
from supervisor.logs.render import JsonRenderer, Origin
from supervisor.logs.store import FULL, LogStore, NoRoomError
from supervisor.shortage import reason

#: Bytes of lines kept in memory while no file can be written.
MAX_KEPT = 1 << 20
#: Bytes of a pipe that are written at once: a quarter of a file's, but within these.
MIN_PORTION, MAX_PORTION = 32 * 1024, 1 << 20
#: Seconds between attempts.
RETRY = 1.0
WARNING = 30


class _Kept(NamedTuple):
    child: str
    path: str
    data: bytes
    lines: int


class FileSink:
    """Writes blocks of lines to the files of children.

    Args:
        options: where and how.
        epoll: told of the compressor's process.
        lost: lines that are in no file, by path; shared with whoever remembers it.
        say: writes a record about the files themselves.

    """

    def __init__(
        self,
        options: FileOptions,
        epoll: select.epoll,
        lost: dict[str, int],
        say: Callable[..., None],
    ) -> None:
        self.options = options
        self.raw = options.format == "raw"
        self.store: LogStore | None = None
        self._epoll, self._say = epoll, say
        self._lost = lost
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0
        self.dropped: Counter[str] = Counter()  # lines, by child: no disk took them
        self._failing: dict[str, float] = {}  # child ("": all) -> when it is tried again
        self.factor = 1.0
        self._attempt("", self._open)

    @property
    def portion(self) -> int:
        """Bytes of a pipe that are written at once at most: files are rotated between two."""
        segment = MAX_PORTION if self.store is None else self.store.segment // 4
        return min(max(segment, MIN_PORTION), MAX_PORTION)

    # --- writing ------------------------------------------------------------------------------

    def prepare(self, child: str, size: int) -> LogFile | None:
        """Return a child's file, with room for so many bytes; None: not now, `keep` the lines."""
        if time.monotonic() < self._failing.get(child, 0.0):
            return None
        file: LogFile | None = None

        def open_it() -> None:
            nonlocal file
            if self.store is None:
                self._open()
            assert self.store is not None
            if self._kept:
                self._write_kept(child)
            file = self.store.open(child, size)
            if file.torn:
                torn, file.torn = file.torn, 0
                self._mark(
                    file, child, f"{torn} bytes of a torn line were cut off", {"bytes": torn}
                )

        self._attempt(child, open_it)
        return file

    def write(self, file: LogFile, data: bytes, path: str, lines: int) -> None:
        """Write a block to a file that was prepared for it; keep it if that fails."""
        if not self._attempt(file.child, lambda: file.write(data)):
            self.keep(file.child, path, data, lines)
        elif self.store is not None:
            self.store.wrote(file.child, len(data))

    def undo(self, child: str, inode: int, offset: int) -> None:
        """Cut a child's file back to an offset, if it is that file still."""

        def cut() -> None:
            if self.store is not None:
                self.store.undo(child, inode, offset)

        self._attempt(child, cut)

    def splice(self, file: LogFile, pipe: int, count: int) -> int | None:
        """Move raw lines from a pipe to a file prepared for them; None: it failed."""
        moved: int | None = None

        def move() -> None:
            nonlocal moved
            moved = file.splice(pipe, count)

        if self._attempt(file.child, move) and self.store is not None and moved is not None:
            self.store.wrote(file.child, moved)
        return moved

    def keep(self, child: str, path: str, data: bytes, lines: int) -> None:
        """Keep a block until files can be written again, or drop what is older."""
        self._lost[path] = self._lost.get(path, 0) + lines
        self._kept.append(_Kept(child, path, data, lines))
        self._kept_bytes += len(data)
        while self._kept_bytes > MAX_KEPT:
            gone = self._kept.popleft()
            self._kept_bytes -= len(gone.data)
            self.dropped[gone.child] += gone.lines

    def mark_lost(self, child: str, path: str, reason: str) -> None:
        """Say in a child's file what is in no file, now that writing goes on."""
        if path not in self._lost or any(kept.path == path for kept in self._kept):
            return
        file = self.prepare(child, 4096)
        if file is not None:
            count = self._lost.pop(path)
            fields = {"child": path, "lines": count, "reason": reason}
            self._mark(file, child, f"{count} lines dropped", fields)

    def _mark(self, file: LogFile, child: str, event: str, fields: dict[str, object]) -> None:
        data = mark(event, fields, self.raw)
        file.write(data)
        assert self.store is not None
        self.store.wrote(child, len(data))

    def _write_kept(self, child: str) -> None:
        """Write what was kept for a child, after a mark for what was not."""
        mine = [kept for kept in self._kept if kept.child == child]
        waiting = Counter[str]()
        for kept in mine:
            waiting[kept.path] += kept.lines
        done = 0
        try:
            for kept in mine:
                self._write_one(kept, waiting[kept.path])
                waiting[kept.path] -= kept.lines
                done += 1
        finally:
            written = set(map(id, mine[:done]))
            self._kept = deque(kept for kept in self._kept if id(kept) not in written)
            self._kept_bytes = sum(len(kept.data) for kept in self._kept)

    def _write_one(self, kept: _Kept, waiting: int) -> None:
        assert self.store is not None
        file = self.store.open(kept.child, len(kept.data) + 4096)
        gone = self._lost.get(kept.path, 0) - waiting
        if gone > 0:
            fields = {"child": kept.path, "lines": gone, "reason": "disk"}
            self._mark(file, kept.child, f"{gone} lines dropped", fields)
            self._lost[kept.path] -= gone
        file.write(kept.data)
        self.store.wrote(kept.child, len(kept.data))
        self._lost[kept.path] -= kept.lines
        if not self._lost[kept.path]:
            del self._lost[kept.path]

    # --- what can fail ------------------------------------------------------------------------

    def _open(self) -> None:
        self.store = LogStore(self.options, self._epoll)

    def _attempt(self, child: str, action: Callable[[], None]) -> bool:
        """Do something with files; when the disk is full, once more after making room."""
        try:
            try:
                action()
            except OSError as error:
                if isinstance(error, NoRoomError) or error.errno not in FULL or not self._relieve():
                    raise
                action()
        except OSError as error:
            if not self._failing:
                why = reason(error, self.options.directory)
                event = "logs cannot be written to files"
                self._say(WARNING, event, error=why, file=error.filename)
            self._failing[child] = time.monotonic() + RETRY
            return False
        if self._failing and self._failing.pop(child, 0.0) and not self._failing:
            self._say(WARNING, "logs are written to files again")
        return True

    def _relieve(self) -> bool:
        if self.store is None:
            return False
        released = self.store.release_ballast()
        try:
            self.store.make_room(0, emergency=True)
        except OSError:
            return released
        return True

    @property
    def failing(self) -> bool:
        """Whether some files cannot be written now."""
        return bool(self._failing)

    # --- time ---------------------------------------------------------------------------------

    def timeout(self, now: float) -> float | None:
        """Return the seconds until `tend` has something to do."""
        if self._failing:
            return max(0.0, min(self._failing.values()) - now)
        return None if self.store is None else self.store.timeout(now)

    def tend(self, now: float) -> None:
        """Do what is due: ages, compression, another attempt."""
        for child, due in list(self._failing.items()):
            if now >= due and child:
                self.prepare(child, 0)
            elif now >= due:
                self._attempt("", self._open if self.store is None else self.store.scan)
        if self.store is not None:
            store = self.store
            if store.timeout(now) == 0.0:
                self._attempt("", lambda: store.tend(now))
            self.factor = store.factor(now)

    def take_event(self, fd: int, now: float) -> bool:
        """Handle the compressor's end, if the descriptor is its."""
        compressor = self.store.compressor if self.store else None
        if compressor is None or compressor.job is None or compressor.job.pidfd != fd:
            return False
        assert self.store is not None
        store = self.store
        self._attempt("", lambda: store.compressed(now))
        return True

    def retire(self, child: str) -> None:
        """Close the file of a child of which nothing is left; not if lines wait to be written."""
        if any(kept.child == child for kept in self._kept):
            self._failing.setdefault(child, time.monotonic() + RETRY)
        elif self.store is not None:
            store = self.store
            self._attempt(child, lambda: store.retire(child))
            self._failing.pop(child, None)

    def close(self) -> None:
        """Write what can be written, close everything."""
        self._failing.clear()
        for child in {kept.child for kept in self._kept}:
            self.prepare(child, 0)
        if self.store is not None:
            self.store.close()


_render = JsonRenderer().render


def mark(event: str, fields: dict[str, object], raw: bool = False) -> bytes:
    """Make a line of the pump's own."""
    if raw:
        return f"[{timestamp(time.time())} log pump: {event}]\n".encode()
    line = Line(fields={"level": "warning", "event": event, **fields})
    return _render(line, Origin("runtime/pump", "stderr", os.getpid()), time.time())
