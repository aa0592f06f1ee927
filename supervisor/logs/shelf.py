"""Reading what the pump keeps of one child: files in their order, compressed or not.

The pump may rotate, compress and delete while it is read: a file that is gone is looked for under
its next name. Bytes are read up to the last newline; what follows may be undone by the pump. In raw
files it goes on in the next file: they are rotated wherever they have their size.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import IO, NamedTuple

from supervisor.logs import codec
from supervisor.logs.entry import Entry, entry, marked, raw_entry
from supervisor.logs.record import timestamp
from supervisor.logs.rotation import Name, State, parse

#: Bytes read at once; a longer line, which only raw files have, is shown in pieces.
READ = 1 << 20
#: Attempts at a look between two rotations.
ATTEMPTS = 100
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


#: What makes a file unreadable that is there.
_OUR_TROUBLE = (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM)


class Current(NamedTuple):
    """The file being written, open. ``raw``: it has the bytes as they came."""

    fd: int
    raw: bool


class Shelf:
    """The files of one child. ``path``: of the child; ``directory``: where they are."""

    def __init__(self, root: str, path: str) -> None:
        self.path = path
        self.directory = os.path.join(root, path)

    def names(self) -> list[Name]:
        """List the closed files, oldest first, each once: compressed if that is finished.

        Raises:
            OSError: the directory is there, but we may not read it or have too many files open.

        """
        found: dict[int, Name] = {}
        try:
            listing = os.listdir(self.directory)
        except OSError as error:
            if error.errno in _OUR_TROUBLE:
                raise
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

    def open_current(self) -> Current | None:
        """Open the file being written.

        Raises:
            OSError: it is there, but we may not read it or have too many files open.

        """
        name = self.current()
        if name is None:
            return None
        try:
            fd = os.open(os.path.join(self.directory, name), _FLAGS)
        except OSError as error:
            if error.errno in _OUR_TROUBLE:
                raise
            return None
        return Current(fd, name == "current.log")

    def entries(self, name: Name, begun: bytearray | None = None) -> Iterator[Entry]:
        """Read the lines of a closed file; see `lines`. Where it is damaged, or gone by now, a line
        says so.
        """
        when = name.stamp / 1e6
        try:
            with self.open(name) as file:
                if file is None:
                    yield self.missing(1, when)
                else:
                    yield from self.lines(file, when, name.raw, begun)
        except codec.damages() as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # it could not be opened
            fields = {"level": "warning", "child": self._about(), "error": str(error)}
            yield marked(f"the rest of {name.text} cannot be read", timestamp(when), fields)

    def missing(self, files: int, when: float) -> Entry:
        """Say that so many files were deleted, for the budget, before they were read."""
        what = (
            "1 file was deleted before it"
            if files == 1
            else f"{files} files were deleted before they"
        )
        fields = {"level": "warning", "child": self._about(), "files": files}
        return marked(f"{what} could be read", timestamp(when), fields)

    def lines(
        self, file: IO[bytes], when: float, raw: bool, begun: bytearray | None = None
    ) -> Iterator[Entry]:
        """Read lines from an open file.

        Args:
            file: from its beginning on.
            when: the time of lines that have none.
            raw: it has the bytes as they came.
            begun: of raw files: the line that the file before has begun; then that which this one
                has begun.

        """
        fallback = timestamp(when)
        begun = bytearray() if begun is None else begun
        while line := file.readline(READ):
            if not line.endswith(b"\n") and len(line) < READ:
                begun += line if raw else b""
                return
            if begun:
                line = bytes(begun) + line
                begun.clear()
            yield self.entry(line.removesuffix(b"\n"), fallback, raw=raw)

    def entry(self, line: bytes, fallback: str, *, raw: bool) -> Entry:
        """Read one line."""
        if not raw:
            return entry(line, fallback)
        return raw_entry(line, fallback, self._raw_source())

    def _raw_source(self) -> dict[str, str]:
        """Who wrote a raw file: shop/charge/0.out is what shop/charge.0 wrote to stdout."""
        return {"path": self._about(), "stream": f"std{self.path.rpartition('.')[2]}"}

    def _about(self) -> str:
        """Return the child whose files these are, or the slot if each has files of its own."""
        child, _, last = self.path.rpartition("/")
        slot, dot, _ = last.rpartition(".")
        return f"{child}.{slot}" if dot else self.path

    def snapshot(self) -> tuple[list[Name], Current | None]:
        """Return the closed files and the current one, open, as they were at one moment."""
        for _ in range(ATTEMPTS):
            current = self.open_current()
            names = self.names()
            if current is None or self.is_current(current.fd):
                break
            os.close(current.fd)
            current = None
        return names, current

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
        names, current = self.snapshot()
        begun = bytearray()
        for name in names:
            if name.stamp / 1e6 >= since:
                yield from self.entries(name, begun)
        yield from self._latest(current, begun)

    def _latest(self, current: Current | None, begun: bytearray | None = None) -> Iterator[Entry]:
        if current is not None:
            with os.fdopen(current.fd, "rb") as file:
                yield from self.lines(file, os.fstat(current.fd).st_mtime, current.raw, begun)

    def backwards(self) -> Iterator[list[Entry]]:
        """Read the files one by one, the newest first; the lines of each are in their order.

        A line that goes over two raw files is one of the newer.
        """
        names, current = self.snapshot()
        begun = self._begun_by(names[-1:], current is not None and current.raw)
        yield list(self._latest(current, begun))
        for place in range(len(names) - 1, -1, -1):
            begun = self._begun_by(names[max(0, place - 1) : place], names[place].raw)
            yield list(self.entries(names[place], begun))

    def _begun_by(self, before: list[Name], raw: bool) -> bytearray:
        """Return the line that a raw file's predecessor, if there is one, has begun."""
        begun = bytearray()
        for name in before if raw else ():
            with contextlib.suppress(*codec.damages()), self.open(name) as file:
                while file is not None and (line := file.readline(READ)):
                    begun[:] = b"" if line.endswith(b"\n") or len(line) == READ else line
        return begun
