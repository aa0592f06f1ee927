"""The pump's output: what was printed, what waits for a slow terminal, and what was dropped.

At most one chunk of lines waits here; the rest waits in the pipes. That is the back pressure, and
it lasts `PATIENCE` seconds: then lines are dropped, counted, until the terminal takes the waiting
chunk, and the count is printed in their place.
"""

import os
import select
import time
from collections import Counter
from typing import Any

from supervisor.logs.lines import Line
from supervisor.logs.messages import PumpOptions
from supervisor.logs.record import LEVELS, record_writer
from supervisor.logs.render import JsonRenderer, Origin, PrettyRenderer, level_of
from supervisor.logs.source import Block
from supervisor.logs.terminal import Terminal, TerminalGone

#: Seconds that workers may have to wait for a slow terminal.
PATIENCE = 0.5
#: Seconds between attempts on a file whose disk is full: nothing tells when it is not.
RETRY = 1.0
WARNING = 30


class Output:
    """Prints lines, as fast as the terminal takes them.

    Args:
        terminal: where to.
        options: how.
        epoll: told to watch the terminal while something waits for it.

    """

    def __init__(self, terminal: Terminal, options: PumpOptions, epoll: select.epoll) -> None:
        self._terminal = terminal
        self._epoll = epoll
        self._watched = False
        self._floor = LEVELS.get(options.level.lower(), 0)
        self._floors: dict[str, int] = {}  # other ones, by path
        pretty = options.format == "pretty"
        self.is_json = not pretty
        self._renderer = PrettyRenderer(options.colour) if pretty else JsonRenderer()
        self._waiting = b""
        self._late_since: float | None = None  # since when it has not kept up
        self._dropped: Counter[str] = Counter()  # lines, by the path they came from
        self.dropping = False
        self.gone = False

    @property
    def fd(self) -> int:
        """The descriptor that is watched."""
        return self._terminal.fd

    @property
    def clear(self) -> bool:
        """Whether everything was taken."""
        return not self._waiting

    def timeout(self, now: float) -> float | None:
        """Return the seconds until this has to be looked at even if nothing happens."""
        if self.clear:
            return None
        if not self.dropping and self._late_since is not None:
            return max(0.0, self._late_since + PATIENCE - now)
        return None if self._terminal.can_poll else RETRY

    def set_floor(self, path: str, level: str | None) -> None:
        """Show records of this level and above of a path and all below it; None: as of others.

        Of several such paths the longest counts, as in the worker (`supervisor.shell.levels`).
        """
        if level is None:
            self._floors.pop(path, None)
        else:
            self._floors[path] = LEVELS.get(level.lower(), 0)

    def print(self, block: Block, text: bytes, now: float) -> None:
        """Print a block, or count it as dropped. Only when `clear`, or dropping.

        Args:
            block: the lines.
            text: they as JSON lines.
            now: when they were read.

        """
        if self.gone:
            return
        if self.dropping:
            self._dropped[block.origin.path] += block.count
            return
        floor = self._floor_of(block.origin.path)
        if self.is_json and text and not _has_below(block.data, floor):
            self._waiting += text
        else:
            self._render(block.lines(), floor, now)
        self.flush()

    def _render(self, lines: list[tuple[Line, Origin]], floor: int, now: float) -> None:
        render = self._renderer.render
        wanted = [
            render(line, origin, now)
            for line, origin in lines
            if line.fields is None or LEVELS[level_of(line)] >= floor
        ]
        self._waiting += b"".join(wanted)

    def _floor_of(self, path: str) -> int:
        fitting = [
            above
            for above in self._floors
            if path == above or path.startswith((above + "/", above + "."))
        ]
        return self._floors[max(fitting, key=len)] if fitting else self._floor

    def flush(self) -> None:
        """Write what waits, as far as it is taken."""
        try:
            while self._waiting:
                written = self._terminal.write(self._waiting)
                if not written:
                    break
                self._waiting = self._waiting[written:]
        except TerminalGone as error:
            self._give_up(error)
        if self._waiting and self._late_since is None:
            self._late_since = time.monotonic()
        self._watch(bool(self._waiting))
        if self.dropping and not self._waiting and not self.gone:
            self._mark()

    def check(self, now: float) -> None:
        """Start to drop when patience is over; try again where nothing tells that it would work."""
        if self._waiting and self._late_since is not None:
            self.dropping = self.dropping or now >= self._late_since + PATIENCE
            if not self._terminal.can_poll:
                self.flush()

    def caught_up(self) -> None:
        """Note that no source has anything left: the terminal keeps up after all."""
        if self.clear:
            self._late_since = None

    def note(self, event: str) -> None:
        """Print a line of our own, whatever was before it on the terminal."""
        self._waiting += b"\n"
        self._print_own([{"level": "warning", "event": event}])

    def mark(self, path: str, count: int) -> None:
        """Say that lines of a path were dropped before they came here."""
        self._print_own([_dropped_lines(path, count)])

    def _mark(self) -> None:
        """Say what was dropped, where it would have been."""
        self.dropping = False
        self._late_since = time.monotonic()
        dropped, self._dropped = self._dropped, Counter()
        self._print_own([_dropped_lines(path, count) for path, count in dropped.items()])

    def _print_own(self, records: list[dict[str, Any]]) -> None:
        us = Origin("runtime/pump", "stderr", os.getpid())
        self._render([(Line(fields=record), us) for record in records], self._floor, time.time())
        self.flush()

    def _give_up(self, error: TerminalGone) -> None:
        self._waiting = b""
        self.gone = True
        self.dropping = False
        log = record_writer(2, "pump")
        log(WARNING, "the terminal is gone: nothing is printed any more", error=str(error))

    def _watch(self, wanted: bool) -> None:
        if wanted == self._watched or not self._terminal.can_poll:
            return
        self._watched = wanted
        try:
            if wanted:
                self._epoll.register(self._terminal.fd, select.EPOLLOUT)
            else:
                self._epoll.unregister(self._terminal.fd)
        except OSError:  # a device that cannot be waited for
            self._terminal.can_poll = False


def _dropped_lines(path: str, count: int) -> dict[str, Any]:
    return {"level": "warning", "event": f"{count} lines dropped", "child": path, "lines": count}


def _has_below(data: bytes, floor: int) -> bool:
    """Whether records of a lower level may be among lines."""
    return any(
        b'"level":"%s"' % name.encode() in data for name, value in LEVELS.items() if value < floor
    )
