"""Following what is added to one child's files, over rotations, compression and truncation."""

import os
import time
from typing import IO

from supervisor.logs import codec
from supervisor.logs.entry import Entry
from supervisor.logs.record import timestamp
from supervisor.logs.rotation import Name, between
from supervisor.logs.shelf import READ, Shelf

#: Bytes by which the pump itself may make a file shorter: less is not a truncation by others.
UNDONE = 1 << 20


class Follower:
    """Reads what is added to one child's files. ``behind``: there is more than it took.

    Args:
        shelf: of the child.
        from_start: read what there is, too.

    """

    def __init__(self, shelf: Shelf, *, from_start: bool = False) -> None:
        self._shelf = shelf
        self._last = 0 if from_start else max((n.stamp for n in shelf.names()), default=0)
        self._deleted = 0  # files closed after that one which were read, and are gone
        self._current = shelf.open_current()
        skipped = self._current is not None and not from_start
        self._offset = os.fstat(self._current.fd).st_size if skipped and self._current else 0
        self._offset -= self._behind_newline()
        self._begun = bytearray()  # by the raw file before: a line that goes on in this one
        self._short_since: float | None = None
        self.behind = False

    def close(self) -> None:
        """Close the file."""
        if self._current is not None:
            os.close(self._current.fd)
        self._current = None

    def _behind_newline(self) -> int:
        """Count the bytes of an unfinished line at the end."""
        if self._current is None or not self._offset:
            return 0
        begin = max(0, self._offset - READ)
        tail = os.pread(self._current.fd, self._offset - begin, begin)
        return len(tail) - (tail.rfind(b"\n") + 1)

    def poll(self) -> list[Entry]:
        """Return lines that were added since the last time: those of one closed file at most.

        Where the pump has deleted files before they were read, a line says how many.
        """
        found = self._more()
        if self._is_current():
            return found
        names, current = self._shelf.snapshot()
        found += self._more()  # what was written between the two looks
        later = [name for name in names if name.stamp > self._last]
        if later and self._was_read(later[0]):
            found += self._missing(later.pop(0).stamp)
        elif self._current is not None and not os.fstat(self._current.fd).st_nlink:
            self._deleted += 1
        self._leave()
        if later:
            found += self._missing(later[0].stamp)
            found += self._shelf.entries(later[0], self._begun)
        self.behind = len(later) > 1
        if self.behind and current is not None:
            os.close(current.fd)
        elif not self.behind:
            self._current = current
            found += self._more()
        return found

    def _missing(self, stamp: int) -> list[Entry]:
        """Go on to a closed file, and say how many before it were deleted without being read."""
        count, before = between(stamp, self._last) - self._deleted, self._last
        self._last, self._deleted = stamp, 0
        if count <= 0:  # the one that is gone was removed by others, before it was closed
            return []
        self._begun.clear()
        return [self._shelf.missing(count, before / 1e6)]

    def _leave(self) -> None:
        """Be done with a file that is not written any more."""
        if self._current is not None and self._current.raw:
            self._begun += os.pread(self._current.fd, READ, self._offset)
        self.close()
        self._offset = 0

    def _is_current(self) -> bool:
        if self._current is None:
            return not self.behind and self._shelf.current() is None
        return self._shelf.is_current(self._current.fd)

    def _was_read(self, name: Name) -> bool:
        """Whether the first of the files that were closed is the one that was being followed."""
        if self._current is None:
            return False
        try:
            with self._shelf.open(name) as file:
                if file is None:
                    return between(name.stamp, self._last) == self._deleted
                return self._is(self._current.fd, file)
        except codec.damages():  # what can be read of it will be shown, and that it is damaged
            return False

    def _is(self, mine: int, file: IO[bytes]) -> bool:
        """Whether a file is ours under another name, or has been compressed from it."""
        if os.path.sameopenfile(mine, file.fileno()):
            return True
        offset = 0
        while theirs := file.read(READ):  # all of it: raw files may begin the same
            if os.pread(mine, READ, offset) != theirs:
                return False
            offset += len(theirs)
        return not os.pread(mine, 1, offset)

    def _more(self) -> list[Entry]:
        if self._current is None:
            return []
        fd, raw = self._current
        info = os.fstat(fd)
        if info.st_size < self._offset and not self._restart(info.st_size):
            return []
        self._short_since = None
        fallback = timestamp(info.st_mtime)
        found: list[Entry] = []
        while data := os.pread(fd, READ, self._offset):
            end = data.rfind(b"\n") + 1 or (READ if len(data) == READ else 0)
            if not end:
                break
            self._offset += end
            lines = (bytes(self._begun) + data[:end].removesuffix(b"\n")).split(b"\n")
            self._begun.clear()
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
        self._begun.clear()
        return True
