"""What a fake world keeps: its counts by id, and its virtual timers."""

import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """What is counted over a whole scenario, by id."""

    attempts: dict[str, int] = field(default_factory=dict)
    successes: dict[str, int] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, parent: str | None) -> int:
        """Count a start attempt; its number."""
        self.attempts[name] = self.attempts.get(name, 0) + 1
        if parent is not None:
            self.holders[name] = parent
        return self.attempts[name]

    def success(self, name: str) -> int:
        """Count a successful start; its number."""
        self.successes[name] = self.successes.get(name, 0) + 1
        return self.successes[name]


class Timers:
    """Things to do later, by virtual time; each has a key to be cancelled by."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Hashable]] = []
        self.actions: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        self.order = itertools.count()

    def add(self, due: float, key: Hashable, action: Callable[[], None]) -> None:
        """Do something at a time."""
        number = next(self.order)
        self.actions[key] = (number, action)
        heapq.heappush(self.heap, (due, number, key))

    def cancel(self, key: Hashable) -> None:
        """Forget one."""
        self.actions.pop(key, None)

    def cancel_all(self, owner: object) -> None:
        """Forget all whose key is a pair that begins with the owner."""
        for key in [k for k in self.actions if isinstance(k, tuple) and k[0] is owner]:
            del self.actions[key]

    @property
    def due(self) -> float | None:
        """When the next one is due."""
        while self.heap and self.actions.get(self.heap[0][2], (None,))[0] != self.heap[0][1]:
            heapq.heappop(self.heap)
        return self.heap[0][0] if self.heap else None

    def pop(self) -> tuple[float, Callable[[], None]]:
        """Take the next one."""
        due, _, key = heapq.heappop(self.heap)
        return due, self.actions.pop(key)[1]
