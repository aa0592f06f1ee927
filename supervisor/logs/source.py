"""One log pipe as the pump sees it: what is in it, what was taken from it, who writes to it."""

import os
from collections import deque
from collections.abc import Sequence

from supervisor.logs.blocks import first_lines, whole_lines, wrap_raw, wrap_records
from supervisor.logs.bucket import Gate
from supervisor.logs.lines import MAX_LINE, Line, Splitter
from supervisor.logs.marks import find_mark, without_beginning
from supervisor.logs.messages import REMEMBERED, Process, Source
from supervisor.logs.peek import CHUNK, Peeker
from supervisor.logs.record import MAX_RECORD, timestamp
from supervisor.logs.render import JsonRenderer, Origin
from supervisor.logs.room import WIDE, Room

#: Bytes of an unfinished line that stay in the pipe. With more in it, it might be full, and its
#: writer wait for room to finish the line.
HOLD = 4096
#: Lines of a block at most: as JSON a short line is many times as long.
MAX_LINES = 8192
#: Bytes taken at most from the pipe of a slot that is gone: something may still write to it.
LAST_BYTES = 1 << 20

_render = JsonRenderer().render


class Block:
    """Lines that are taken together: ``data`` are their very bytes, ``count`` how many lines.

    ``listed``: the lines, if they had to be split one by one. ``continuation``: the first of them
    goes on where the line before stopped.
    """

    def __init__(
        self,
        data: bytes,
        count: int,
        origins: deque[Origin],
        listed: list[tuple[Line, Origin]] | None,
    ) -> None:
        self.data, self.count, self._origins = data, count, origins
        self.continuation = bool(listed) and listed[0][0].continuation  # type: ignore[index]
        self._listed = listed

    @property
    def origin(self) -> Origin:
        """Who writes to the pipe now."""
        return self._origins[-1]

    def lines(self) -> list[tuple[Line, Origin]]:
        """Return the lines one by one."""
        if self._listed is None:
            split, _ = Splitter(self.origin.stream == "stderr").split(self.data)
            self._listed = attributed(split, self._origins)
        return self._listed

    def as_json(self, now: float) -> bytes:
        """Render the block as JSON lines, read at that time (Unix seconds)."""
        if self._listed is None:
            wrapped = None
            if self.origin.stream == "stderr" and self.data.startswith(b"\x1e"):
                wrapped = wrap_records(self.data, self.origin)
            elif self.origin.stream == "stdout" or b"\x1e" not in self.data:
                wrapped = wrap_raw(self.data, self.origin, timestamp(now))
            if wrapped is not None:
                return wrapped
        return b"".join([_render(line, origin, now) for line, origin in self.lines()])


class LogPipe:
    """The read end of one slot's stdout or stderr. Takes over the descriptor.

    ``room``: the bytes that it holds.
    """

    def __init__(
        self, source: Source, fd: int, gate: Gate | None = None, rooms: Room | None = None
    ) -> None:
        self.source, self.fd = source, fd
        self.gate = gate  # None: no limit
        self.deadline: float | None = None  # when what is there counts as a partial line
        self.ended = False  # what was looked at is the last of its writer's: no line goes on
        self.left: int | None = None  # bytes still taken, once the slot is gone
        self.splitter = Splitter(records=source.stream == "stderr")
        self.carried = b""  # taken out of the pipe before its line was whole
        self.dropped = 0  # lines, since the last mark
        self.lines = self.bytes = self.lost = 0  # taken, and lines not taken: of all its life
        self._rooms = rooms or Room()
        self.room = self._rooms.look(fd)
        unknown = Origin(source.path, source.stream)
        self._origins: deque[Origin] = deque([unknown], REMEMBERED)
        for process in source.writers:
            self.written_by(process)

    def written_by(self, process: Process) -> None:
        """Note who writes from now on."""
        self._origins.append(
            Origin(self.source.path, self.source.stream, process.pid, process.incarnation)
        )

    def block(self, data: bytes) -> Block:
        """Make a block of bytes as they are."""
        return Block(data, max(1, data.count(b"\n")), self._origins, None)

    def look(self, peeker: Peeker) -> bytes:
        """Return what is there of one writer's, from the first byte on that was not taken."""
        seen = peeker.peek(self.fd)
        while (mark := find_mark(seen)) is not None:
            process = Process(self.source.path, mark.pid, mark.incarnation)
            if mark.start or self.carried:
                self._not_yet_written_by(process)
                seen = seen[: mark.start]
                break
            self.take(mark.end)
            self.restart()
            self.written_by(process)
            seen = seen[mark.end :]
        self.ended = mark is not None
        if len(seen) == CHUNK:
            seen = without_beginning(seen)
        return self.carried + seen if self.carried else seen

    def _not_yet_written_by(self, process: Process) -> None:
        """A new pump is told of writers whose marks it has not come to yet."""
        while self._origins and (self._origins[-1].incarnation or 0) >= process.incarnation:
            self._origins.pop()
        if not self._origins:
            self._origins.append(Origin(self.source.path, self.source.stream))

    def cut(
        self, data: bytes, lines: float, size: float, *, final: bool = False
    ) -> tuple[Block, int] | None:
        """Cut the next lines off.

        Args:
            data: what `look` returned.
            lines: how many there may be at most; 1 or more.
            size: and about how many bytes; a line or more.
            final: nothing more will come soon: the rest is a partial line.

        Returns:
            the block, and how many of its bytes are still in the pipe; None: no line is whole.

        """
        lines, size = min(lines, MAX_LINES), max(size, MAX_LINE + 1)
        end = 0 if self.splitter.continues or self.carried else whole_lines(data)
        if end:
            end, count = first_lines(data, end, lines, size)
            if end:
                return Block(data[:end], count, self._origins, None), end
        end, count = first_lines(data, len(data), lines, size)
        limited = data[:end] if count else data[: 2 * MAX_RECORD]
        final = (final or self.ended) and len(limited) == len(data)
        split, used = self.splitter.split(limited, final=final)
        if not used:
            return None
        block = Block(data[:used], len(split), self._origins, attributed(split, self._origins))
        kept, self.carried = len(self.carried), self.carried[used:]
        return block, max(0, used - kept)

    def hold(self, data: bytes) -> bool:
        """Leave an unfinished line in the pipe, unless that is so small that it might be full.

        Then the bytes are kept here: True, and a pump that is killed now loses them.
        """
        seen = len(data) - len(self.carried)
        if seen < HOLD or (self.room < WIDE and self._widen()) or seen < self.room // 2:
            return False
        self.carried += os.read(self.fd, seen)
        return True

    def take(self, count: int) -> None:
        """Take bytes that were looked at out of the pipe, and throw them away."""
        while count > 0:  # they are there: nobody else reads
            count -= len(os.read(self.fd, count))

    def took(self, count: int) -> None:
        """Count what was taken; a pipe that was half full is given more room."""
        if count >= self.room // 2:
            self._widen()
        if self.left is not None:
            self.left -= count

    def restart(self) -> None:
        """Forget the line that was begun: what follows begins a new one."""
        self.carried = b""
        self.splitter = Splitter(self.source.stream == "stderr")

    def has_part(self, peeker: Peeker) -> bool:
        """Whether the beginning of a line is there."""
        return bool(self.carried or peeker.peek(self.fd, 1))

    def discard(self, limit: int) -> bool:
        """Throw away what is there; False if there was nothing."""
        self.carried = b""
        try:
            return bool(os.read(self.fd, limit))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Close it."""
        self._rooms.forget(self.room)
        os.close(self.fd)

    def _widen(self) -> bool:
        before, self.room = self.room, self._rooms.widen(self.fd, self.room)
        return self.room > before


def attributed(lines: Sequence[Line], origins: deque[Origin]) -> list[tuple[Line, Origin]]:
    """Say who wrote each line: the process there is now, or, of those before, the one it names."""
    return [(line, _origin_of(line, origins)) for line in lines]


def _origin_of(line: Line, origins: deque[Origin]) -> Origin:
    claimed = line.fields.get("incarnation") if line.fields else None
    if claimed is None:
        return origins[-1]
    for origin in origins:
        if origin.incarnation == claimed:
            return origin
    return Origin(origins[-1].path, origins[-1].stream)
