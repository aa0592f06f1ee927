"""Reading what the pump keeps of one child: files in their order, compressed or not, and followed.

The pump may rotate, compress and delete while it is read: a file that is gone is looked for under
its next name. Bytes are read up to the last newline; what follows may be undone by the pump.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import IO

import msgspec

from supervisor.logs import codec
from supervisor.logs.entry import Entry, entry
from supervisor.logs.record import timestamp
from supervisor.logs.rotation import Name, State, parse

READ = 1 << 20
#: Bytes by which the pump itself may make a file shorter: less is not a truncation by others.
UNDONE = 1 << 20
#: Bytes compared to see whether two files begin the same.
HEAD = 4096
#: Attempts at a look between two rotations.
ATTEMPTS = 100
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Shelf:
    """The files of one child. ``path``: of the child; ``directory``: where they are."""

    def __init__(self, root: str, path: str) -> None:
        self.path = path
        self.directory = os.path.join(root, path)

    def names(self) -> list[Name]:
        """List the closed files, oldest first, each once: compressed if that is finished."""
        found: dict[int, Name] = {}
        try:
            listing = os.listdir(self.directory)
        except OSError:
            return []
        for text in sorted(listing):  # "….s.zst" comes before "….u"
            name = parse(text)
            if name is not None and name.state in (State.COMPRESSED, State.UNCOMPRESSED):
                found.setdefault(name.stamp, name)
        return [found[stamp] for stamp in sorted(found)]

    def current(self) -> str | None:
        """Return the name of the file being written, if there is one."""
        for text in ("current.jsonl", "current.log"):
            if os.path.lexists(os.path.join(self.directory, text)):
                return text
        return None

    @contextlib.contextmanager
    def open(self, name: Name) -> Iterator[IO[bytes] | None]:
        """Open a closed file for reading; None: it was deleted."""
        fd = self._open(name)
        if fd is None:
            yield None
            return
        with os.fdopen(fd[0], "rb") as file:
            if fd[1] is None:
                yield file
            else:
                with codec.reader(fd[1])(file) as content:
                    yield content

    def _open(self, name: Name) -> tuple[int, str | None] | None:
        """Open a file by its name, or by that which it has got meanwhile; says its codec."""
        for _ in range(ATTEMPTS):
            try:
                return os.open(os.path.join(self.directory, name.text), _FLAGS), name.codec
            except FileNotFoundError:  # it has been compressed meanwhile
                now = [other for other in self.names() if other.stamp == name.stamp]
                if not now:
                    return None
                name = now[0]
        return None

    def open_current(self) -> int | None:
        """Open the file being written."""
        name = self.current()
        try:
            return None if name is None else os.open(os.path.join(self.directory, name), _FLAGS)
        except OSError:
            return None

    def entries(self, name: Name) -> Iterator[Entry]:
        """Read the lines of a closed file."""
        with self.open(name) as file:
            if file is not None:
                yield from self.lines(file, name.stamp / 1e6, raw=name.raw)

    def lines(self, file: IO[bytes], when: float, *, raw: bool = False) -> Iterator[Entry]:
        """Read lines from an open file. ``when``: the time of those that have none."""
        fallback = timestamp(when)
        for line in file:
            if line.endswith(b"\n"):
                yield self.entry(line[:-1], fallback, raw=raw)

    def entry(self, line: bytes, fallback: str, *, raw: bool) -> Entry:
        """Read one line."""
        if not raw:
            return entry(line, fallback)
        fields = {
            "time": fallback,
            "level": "info",
            "event": line.decode("utf-8", "backslashreplace"),
            "source": self._raw_source(),
            "raw": True,
        }
        return Entry(fallback, msgspec.json.encode(fields), fields)

    def _raw_source(self) -> dict[str, str]:
        """Who wrote a raw file: shop/charge/0.out is what shop/charge.0 wrote to stdout."""
        child, _, last = self.path.rpartition("/")
        slot, dot, stream = last.rpartition(".")
        return {"path": f"{child}.{slot}" if dot else child, "stream": f"std{stream}"}

    def snapshot(self) -> tuple[list[Name], int | None]:
        """Return the closed files and the current one, open, as they were at one moment."""
        for _ in range(ATTEMPTS):
            fd = self.open_current()
            names = self.names()
            if fd is None or self.is_current(fd):
                break
            os.close(fd)
            fd = None
        return names, fd

    def is_current(self, fd: int) -> bool:
        """Whether an open file is the one being written."""
        name = self.current()
        try:
            info = os.stat(os.path.join(self.directory, name or "."), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return info.st_ino == os.fstat(fd).st_ino

    def all(self, since: float = 0.0) -> Iterator[Entry]:
        """Read everything that was closed after a time (Unix seconds), and the current file."""
        names, fd = self.snapshot()
        for name in names:
            if name.stamp / 1e6 >= since:
                yield from self.entries(name)
        yield from self._latest(fd)

    def _latest(self, fd: int | None) -> Iterator[Entry]:
        if fd is not None:
            raw = self.current() == "current.log"
            with os.fdopen(fd, "rb") as file:
                yield from self.lines(file, os.fstat(fd).st_mtime, raw=raw)

    def backwards(self) -> Iterator[list[Entry]]:
        """Read the files one by one, the newest first; the lines of each are in their order."""
        names, fd = self.snapshot()
        yield list(self._latest(fd))
        for name in reversed(names):
            yield list(self.entries(name))


class Follower:
    """Reads what is added to one child's files, over rotations.

    Args:
        shelf: of the child.
        from_start: read what there is, too.

    """

    def __init__(self, shelf: Shelf, *, from_start: bool = False) -> None:
        self._shelf = shelf
        self._last = 0 if from_start else max((n.stamp for n in shelf.names()), default=0)
        self._fd = self._open()
        self._offset = 0 if from_start or self._fd < 0 else os.fstat(self._fd).st_size
        self._offset -= self._behind_newline()
        self._short_since: float | None = None

    def _open(self) -> int:
        fd = self._shelf.open_current()
        return -1 if fd is None else fd

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _behind_newline(self) -> int:
        """Count the bytes of an unfinished line at the end."""
        if self._fd < 0 or not self._offset:
            return 0
        begin = max(0, self._offset - READ)
        tail = os.pread(self._fd, self._offset - begin, begin)
        return len(tail) - (tail.rfind(b"\n") + 1)

    def poll(self) -> list[Entry]:
        """Return the lines that were added since the last time."""
        found = self._more()
        if self._is_current():
            return found
        names, fd = self._shelf.snapshot()
        found += self._more()  # what was written between the two looks
        for name in [name for name in names if name.stamp > self._last]:
            self._last = name.stamp
            if not self._was_read(name):
                found += list(self._shelf.entries(name))
        self.close()
        self._fd = -1 if fd is None else fd
        self._offset = 0
        return found + self._more()

    def _is_current(self) -> bool:
        if self._fd < 0:
            return self._shelf.current() is None
        return self._shelf.is_current(self._fd)

    def _was_read(self, name: Name) -> bool:
        """Whether a closed file is the one that was being followed."""
        if self._fd < 0 or not self._offset:
            return False
        head = os.pread(self._fd, min(HEAD, self._offset), 0)
        with self._shelf.open(name) as file:
            return file is None or file.read(len(head)) == head

    def _more(self) -> list[Entry]:
        if self._fd < 0:
            return []
        info = os.fstat(self._fd)
        if info.st_size < self._offset and not self._restart(info.st_size):
            return []
        self._short_since = None
        raw = self._shelf.current() == "current.log"
        fallback = timestamp(info.st_mtime)
        found: list[Entry] = []
        while data := os.pread(self._fd, READ, self._offset):
            end = data.rfind(b"\n") + 1
            if not end:
                break
            self._offset += end
            lines = data[: end - 1].split(b"\n")
            found += [self._shelf.entry(line, fallback, raw=raw) for line in lines]
        return found

    def _restart(self, size: int) -> bool:
        """Begin anew in a file that others truncated; the pump only takes a block back for now."""
        now = time.monotonic()
        if self._short_since is None:
            self._short_since = now
        if size and self._offset - size < UNDONE and now - self._short_since < 1.0:
            return False
        self._offset = 0
        return True
