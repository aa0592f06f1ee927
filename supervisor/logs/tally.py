"""The pump's count of what is logged, written down every few seconds if there was anything new."""

import time
from collections.abc import Iterable

import msgspec

from supervisor.logs.delivery import child_of
from supervisor.logs.figures import FIGURES, ChildFigures, Figures
from supervisor.logs.sink import FileSink
from supervisor.logs.source import LogPipe

#: Seconds between two writings.
EVERY = 5.0


class Tally:
    """Adds up what pipes have counted, and writes it down.

    Args:
        directory: the runtime directory; "": nothing is written.

    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._since = time.time()
        self._gone: dict[str, ChildFigures] = {}  # by child: of pipes that were closed
        self._due = 0.0
        self._told = 0
        self._dropped, self._dropped_at = 0, 0.0

    def timeout(self, now: float, taken: int) -> float | None:
        """Return the seconds until there is something to write down.

        Args:
            now: monotonic seconds.
            taken: bytes that were taken from all pipes so far.

        """
        if taken == self._told or not self._directory:
            return None
        return max(0.0, self._due - now)

    def tend(self, now: float, taken: int, pipes: Iterable[LogPipe], sink: FileSink | None) -> None:
        """Write it down, if it is time."""
        if self.timeout(now, taken) != 0.0:
            return
        self._told, self._due = taken, now + EVERY
        try:
            FIGURES.post(self._directory, self._figures(pipes, sink))
        except OSError:  # nobody will see it, that is all
            pass

    def again(self) -> None:
        """Write it down at once: what was written is gone."""
        self._told, self._due = -1, 0.0

    def retire(self, pipe: LogPipe) -> None:
        """Remember what a pipe has counted that is closed."""
        self._add(self._gone, pipe)

    def _figures(self, pipes: Iterable[LogPipe], sink: FileSink | None) -> Figures:
        children = {path: msgspec.structs.replace(one) for path, one in self._gone.items()}
        for pipe in pipes:
            self._add(children, pipe)
        store = None
        if sink is not None:
            store = sink.store
            for path, lines in sink.dropped.items():
                children.setdefault(path, ChildFigures()).dropped += lines
        dropped = sum(one.dropped for one in children.values())
        if dropped > self._dropped:
            self._dropped, self._dropped_at = dropped, time.time()
        return Figures(
            at=time.time(),
            since=self._since,
            children=children,
            dropped_at=self._dropped_at or None,
            used=None if store is None else store.used,
            budget=None if store is None else store.most,
            failing=sink is not None and sink.failing,
        )

    def _add(self, children: dict[str, ChildFigures], pipe: LogPipe) -> None:
        child = children.setdefault(child_of(pipe.source.path), ChildFigures())
        child.add(ChildFigures(pipe.lines, pipe.bytes, pipe.lost))
