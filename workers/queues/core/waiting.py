"""The plain order of what waits: first in, first out; what comes back goes to the front.

Orders (this one, `Levels`, `Fair`) have the same methods. `next` shows the chunk whose turn it is,
and `take` or `replace` is said of that one. A chunk that has become void while it waits is told to
`forget`; it is skipped, and swept out when voids are the larger half.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from workers.queues.core.chunk import Chunk

#: Voids that are not worth a sweep.
FEW = 32


class Order(Protocol):
    """In which order chunks leave."""

    def append(self, chunk: Chunk) -> None:
        """Add a new chunk."""

    def give_back(self, chunks: Sequence[Chunk]) -> None:
        """Add chunks that come back, before all others of their kind, in this order."""

    def next(self, now: float) -> Chunk | None:
        """Show the chunk whose turn it is; None if none may leave now."""

    def allowance(self, now: float) -> float:
        """How many messages of that chunk may leave now."""

    def take(self, now: float) -> None:
        """Remove the chunk that `next` showed: it leaves."""

    def replace(self, parts: Sequence[Chunk]) -> None:
        """Put its parts where the chunk that `next` showed was; none: it is just removed."""

    def victim(self) -> Chunk | None:
        """Show the chunk to drop when there has to be room: the oldest of the least."""

    def forget(self, chunk: Chunk) -> None:
        """A chunk in here has become void."""

    def wakes_at(self) -> float:
        """When something may leave that may not now; inf: nothing waits for the time."""

    def oldest(self) -> float:
        """When that was put which has waited longest, about; inf: nothing waits."""

    def __iter__(self) -> Iterator[Chunk]:
        """Go through all that wait, in about the order in which they will leave."""


class Fifo:
    """First in, first out."""

    __slots__ = ("_chunks", "_voids")

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self._voids = 0

    def append(self, chunk: Chunk) -> None:
        """Add a new chunk."""
        self._chunks.append(chunk)

    def give_back(self, chunks: Sequence[Chunk]) -> None:
        """Add chunks at the front, in this order."""
        self._chunks.extendleft(reversed(chunks))

    def next(self, _now: float = 0.0) -> Chunk | None:
        """Show the first one."""
        chunks = self._chunks
        while chunks:
            chunk = chunks[0]
            if chunk.done < chunk.count:
                return chunk
            chunks.popleft()
            self._voids -= 1
        return None

    def allowance(self, _now: float = 0.0) -> float:
        """All of it."""
        return math.inf

    def take(self, _now: float = 0.0) -> None:
        """Remove the first one."""
        self._chunks.popleft()

    def replace(self, parts: Sequence[Chunk]) -> None:
        """Put parts in its place."""
        self._chunks.popleft()
        self._chunks.extendleft(reversed(parts))

    def victim(self) -> Chunk | None:
        """Show the oldest."""
        return self.next()

    def forget(self, _chunk: Chunk) -> None:
        """Sweep when the voids are the larger half."""
        self._voids += 1
        if self._voids > FEW and 2 * self._voids > len(self._chunks):
            self._chunks = deque(chunk for chunk in self._chunks if not chunk.void)
            self._voids = 0

    @property
    def left(self) -> int:
        """How many wait, without the voids."""
        return len(self._chunks) - self._voids

    def wakes_at(self) -> float:
        """Nothing here waits for the time."""
        return math.inf

    def oldest(self) -> float:
        """When the first one was put."""
        first = self.next()
        return math.inf if first is None else first.put_at

    def __iter__(self) -> Iterator[Chunk]:
        """Go through what waits."""
        self.next()  # those who drop what they find, page by page, do not pass over it again
        return (chunk for chunk in self._chunks if not chunk.void)

    def __len__(self) -> int:
        """Count them, voids included."""
        return len(self._chunks)
