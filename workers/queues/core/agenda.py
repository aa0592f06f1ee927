"""What is due when: chunks by time; void ones are swept out when they are many."""

import heapq
import math
from collections.abc import Iterator

from workers.queues.core.chunk import Chunk

#: Entries that are not worth a sweep.
FEW = 64


class Agenda:
    """Chunks by the time at which something is due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Chunk]] = []
        self._many = FEW

    def add(self, at: float, chunk: Chunk) -> None:
        """Something is due for this chunk then."""
        if len(self._heap) >= self._many:
            self._heap = [entry for entry in self._heap if not entry[2].void]
            heapq.heapify(self._heap)
            self._many = FEW + 2 * len(self._heap)
        heapq.heappush(self._heap, (at, chunk.id, chunk))

    def due(self, now: float) -> Chunk | None:
        """Remove and return one that is due; None if there is none. It may be void."""
        if self._heap and self._heap[0][0] <= now:
            return heapq.heappop(self._heap)[2]
        return None

    def first(self) -> Chunk | None:
        """Show what is due next; None: nothing is."""
        while self._heap and self._heap[0][2].void:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def next_at(self) -> float:
        """When something is due next; inf: never."""
        return math.inf if self.first() is None else self._heap[0][0]

    def __iter__(self) -> Iterator[Chunk]:
        """Go through what is not void, in no order."""
        return (chunk for _, _, chunk in self._heap if not chunk.void)
