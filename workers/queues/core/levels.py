"""Priorities: some levels, each an order of its own; a higher one goes first."""

from collections.abc import Callable, Iterator, Sequence

from workers.queues.core.chunk import Chunk
from workers.queues.core.waiting import Order


class Levels:
    """Serves the highest level from which something may leave.

    Strictly: a level that never runs dry starves those below it. A priority above the highest
    level counts as the highest.

    Args:
        levels: how many.
        make: makes the order of one level.

    """

    def __init__(self, levels: int, make: Callable[[], Order]) -> None:
        self._levels = [make() for _ in range(levels)]
        self._shown = self._levels[0]

    def append(self, chunk: Chunk) -> None:
        """Add a new chunk to its level."""
        self._of(chunk).append(chunk)

    def give_back(self, chunks: Sequence[Chunk]) -> None:
        """Add chunks at the front of their levels."""
        for chunk in reversed(chunks):
            self._of(chunk).give_back((chunk,))

    def next(self, now: float) -> Chunk | None:
        """Show the next one of the highest level that has one."""
        for level in reversed(self._levels):
            chunk = level.next(now)
            if chunk is not None:
                self._shown = level
                return chunk
        return None

    def allowance(self, now: float) -> float:
        """As its level says."""
        return self._shown.allowance(now)

    def take(self, now: float) -> None:
        """Remove it."""
        self._shown.take(now)

    def replace(self, parts: Sequence[Chunk]) -> None:
        """Put parts in its place."""
        self._shown.replace(parts)

    def victim(self) -> Chunk | None:
        """Show the oldest of the lowest level."""
        return next(
            (chunk for level in self._levels if (chunk := level.victim()) is not None), None
        )

    def forget(self, chunk: Chunk) -> None:
        """Tell its level."""
        self._of(chunk).forget(chunk)

    def wakes_at(self) -> float:
        """When the first of the levels does."""
        return min(level.wakes_at() for level in self._levels)

    def oldest(self) -> float:
        """The oldest of all levels."""
        return min(level.oldest() for level in self._levels)

    def __iter__(self) -> Iterator[Chunk]:
        """Go through all, the highest level first."""
        return (chunk for level in reversed(self._levels) for chunk in level)

    def _of(self, chunk: Chunk) -> Order:
        priority = 0 if chunk.extra is None else chunk.extra.priority
        return self._levels[min(max(priority, 0), len(self._levels) - 1)]
