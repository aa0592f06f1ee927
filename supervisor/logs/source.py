"""One log pipe as the pump sees it: what was taken out of it, and who writes to it."""

import os
from collections import deque

from supervisor.logs.lines import Line, Splitter
from supervisor.logs.messages import Process, Source
from supervisor.logs.peek import Peeker
from supervisor.logs.render import Origin

#: Bytes of an unfinished line that stay in the pipe. With more in it, it might be full, and its
#: writer wait for room to finish the line.
HOLD = 4096
#: Processes of a slot that are remembered: lines of the one before may still be in the pipe.
REMEMBERED = 4
#: Bytes taken at most from the pipe of a slot that is gone: something may still write to it.
LAST_BYTES = 1 << 20


class LogPipe:
    """The read end of one slot's stdout or stderr. Takes over the descriptor."""

    def __init__(self, source: Source, fd: int) -> None:
        self.source, self.fd = source, fd
        self.deadline: float | None = None  # when what is there counts as a partial line
        self.interrupted = False  # a new process writes: an unfinished line is not going on
        self.left: int | None = None  # bytes still taken, once the slot is gone
        self._splitter = Splitter(records=source.stream == "stderr")
        self._carry = b""  # taken out of the pipe before its line was whole
        self._consumable = 0
        self._unknown = Origin(source.path, source.stream)
        self._origins: deque[Origin] = deque([self._unknown], REMEMBERED)

    def written_by(self, process: Process) -> None:
        """Note who writes from now on."""
        self.interrupted = True
        self._origins.append(
            Origin(self.source.path, self.source.stream, process.pid, process.incarnation)
        )

    def look(self, peeker: Peeker, *, final: bool = False) -> list[tuple[Line, Origin]]:
        """Return the whole lines that are there; `consume` them when they are printed."""
        seen = peeker.peek(self.fd)
        lines, used = self._splitter.split(self._carry + seen, final=final)
        if not used and len(seen) >= HOLD:  # it ends up here MAX_RECORD / HOLD times at most
            self._carry += os.read(self.fd, len(seen))
            return self.look(peeker, final=final)
        if used:
            kept = len(self._carry)
            self._carry = self._carry[used:]
            self._consumable = max(0, used - kept)
        return [(line, self._origin(line)) for line in lines]

    def has_part(self, peeker: Peeker) -> bool:
        """Whether the beginning of a line is there."""
        return bool(self._carry or peeker.peek(self.fd))

    def consume(self) -> int:
        """Take the lines that `look` returned out of the pipe."""
        count, self._consumable = self._consumable, 0
        left = count
        while left:  # they are there: nobody else reads
            left -= len(os.read(self.fd, left))
        if self.left is not None:
            self.left -= count
        return count

    def discard(self, limit: int) -> bool:
        """Throw away what is there; False if there was nothing."""
        self._carry = b""
        try:
            return bool(os.read(self.fd, limit))
        except BlockingIOError:
            return False

    def _origin(self, line: Line) -> Origin:
        """Who wrote a line: the process there is now, or, of those before it, the one it names."""
        claimed = line.fields.get("incarnation") if line.fields else None
        if claimed is None:
            return self._origins[-1]
        for origin in self._origins:
            if origin.incarnation == claimed:
                return origin
        return self._unknown
