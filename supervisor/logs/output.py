"""The pump's output: what was printed, what waits for a slow terminal, and what was dropped.

At most one chunk of lines waits here; the rest waits in the pipes. That is the back pressure, and
it lasts `PATIENCE` seconds: then lines are dropped, counted, until the terminal takes the waiting
chunk, and the count is printed in their place.
"""

import os
import select
import time
from collections import Counter

from supervisor.logs.lines import Line
from supervisor.logs.messages import PumpOptions
from supervisor.logs.record import LEVELS, record_writer
from supervisor.logs.render import JsonRenderer, Origin, PrettyRenderer, level_of
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
        pretty = options.format == "pretty"
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

    def print(self, lines: list[tuple[Line, Origin]]) -> None:
        """Print lines, or count them as dropped. Only when `clear`, or dropping."""
        if self.dropping:
            self._dropped.update(origin.path for _, origin in lines)
            return
        now = time.time()
        render = self._renderer.render
        self._waiting += b"".join(
            [render(line, origin, now) for line, origin in lines if self._wanted(line)]
        )
        self.flush()

    def _wanted(self, line: Line) -> bool:
        return line.fields is None or LEVELS[level_of(line)] >= self._floor

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
        self.print([(Line(fields={"level": "warning", "event": event}), _ourselves())])

    def _mark(self) -> None:
        """Say what was dropped, where it would have been."""
        self.dropping = False
        self._late_since = time.monotonic()
        dropped, self._dropped = self._dropped, Counter()
        fields = [
            {"level": "warning", "event": f"{count} lines dropped", "child": path, "lines": count}
            for path, count in dropped.items()
        ]
        self.print([(Line(fields=record), _ourselves()) for record in fields])

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


def _ourselves() -> Origin:
    return Origin("runtime/pump", "stderr", os.getpid())
