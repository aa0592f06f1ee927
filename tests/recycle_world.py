"""A simulated tree under the arbiter: workers that age, leak, crash, and start slowly or never.

Event-driven: between two events nothing happens that the arbiter could see, so ten thousand days
are as many looks as there is something to see.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.core import recycle
from supervisor.core.census import Policy, PoolView, Seen, SlotView
from supervisor.core.recycle import Memory, StartFirst, StopFirst, Trim
from supervisor.core.thresholds import MIB, Limits, spread, width

DAY = 86_400.0


@dataclass
class Slot:
    """One slot: the process in it, and its replacement's progress."""

    pool: str
    number: int
    born: float
    generation: int = 1
    ready: bool = True
    recycling: bool = False
    stopping_first: bool = False
    leaked: float = 0.0  # bytes of leak taken back by a trim
    path: str = ""
    lot: float = 0.5

    def __post_init__(self) -> None:
        self.path = f"{self.pool}.{self.number}"


@dataclass
class Child:
    """One pool and how it behaves. ``leak`` in bytes a second, ``start`` and ``drain`` in s."""

    slots: int
    limits: Limits = field(default_factory=Limits)
    baseline: int = 20 * MIB
    leak: float = 0.0
    start: Callable[[random.Random], float] = lambda _: 0.4
    drain: Callable[[random.Random], float] = lambda _: 0.2
    fails: Callable[[random.Random], bool] = lambda _: False
    trims: float = 0.0  # part of what has leaked that a trim gives back


class World:
    """The simulation."""

    def __init__(self, children: dict[str, Child], policy: Policy, seed: int) -> None:
        self.children, self.policy = children, policy
        self.random = random.Random(seed)
        self.now = 0.0
        self.available = 1 << 40
        self.running = True
        self.psi_full = 0.0
        self.memory = Memory()
        self.slots = {
            slot.path: slot
            for name, child in children.items()
            for slot in (Slot(name, n, 0.0) for n in range(child.slots))
        }
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._crossings: dict[tuple[str, int, float], float] = {}
        self.most_at_once = 0
        self.deficit = 0.0  # worker-seconds short of the target, by the arbiter's doing
        self.highest_used = 0
        self.starts: list[tuple[float, str]] = []
        self.trims = 0
        self.looks = 0
        for slot in self.slots.values():
            slot.lot = self.random.random()

    def at(self, when: float, event: Callable[[], None]) -> None:
        """Have something happen."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, event))

    def run(self, until: float, period: float = 1.0) -> None:
        """Go on until then; the arbiter looks every ``period`` while there is something to see."""
        while True:
            due = min(self._next_event(), self._next_look(period))
            if due > until:
                self.now = until
                return
            self._pass(due)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            self._look(period)

    def _next_event(self) -> float:
        return self._events[0][0] if self._events else float("inf")

    def _next_look(self, period: float) -> float:
        """When the next threshold is crossed, or something that waits may be granted."""
        if self.memory.deferred or any(r.trimming for r in self.memory.records.values()):
            return self.now + period
        return max(self.now + period, min(self._crossing(slot) for slot in self.slots.values()))

    def _crossing(self, slot: Slot) -> float:
        if slot.recycling or not slot.ready:
            return float("inf")
        key = slot.path, slot.generation, slot.leaked
        if key not in self._crossings:
            self._crossings[key] = self._first_crossing(slot)
        return self._crossings[key]

    def _first_crossing(self, slot: Slot) -> float:
        child = self.children[slot.pool]

        def threshold(base: float, seconds: float) -> float:
            part = width(child.slots, self._cycle, seconds)
            return spread(base, slot.number, child.slots, part, slot.lot)

        when = slot.born + threshold(child.limits.max_age, child.limits.max_age)
        if child.leak > 0:
            bounds = recycle.bounds_of(self._seen(1.0), self._view(slot))
            limit = min(threshold(bounds.soft, bounds.soft / child.leak), 0.95 * bounds.hard)
            left = max(0.0, limit - self.private(slot)) / child.leak
            when = min(when, self.now + left)
        return when + 1e-6

    _cycle = 0.6

    def _pass(self, to: float) -> None:
        gone = sum(not slot.ready and slot.stopping_first for slot in self.slots.values())
        self.deficit += gone * (to - self.now)
        self.now = to

    def private(self, slot: Slot) -> int:
        """What a slot has now."""
        child = self.children[slot.pool]
        return round(child.baseline + child.leak * (self.now - slot.born) - slot.leaked)

    def _view(self, slot: Slot) -> SlotView:
        child = self.children[slot.pool]
        return SlotView(
            slot.path,
            slot.pool,
            slot.number,
            slot.generation,
            ready=slot.ready,
            recycling=slot.recycling,
            age=self.now - slot.born,
            private=self.private(slot),
            baseline=child.baseline,
            trend=child.leak or None,
            lot=slot.lot,
        )

    def _seen(self, period: float) -> Seen:
        views = tuple(self._view(slot) for slot in self.slots.values())
        pools = {
            name: PoolView(
                child.limits,
                target=child.slots,
                ready=sum(s.ready for s in self.slots.values() if s.pool == name),
                cycle=self._cycle,
            )
            for name, child in self.children.items()
        }
        extra = sum(self.children[s.pool].baseline for s in self.slots.values() if s.recycling)
        return Seen(
            self.policy,
            views,
            pools,
            used=sum(view.private for view in views) + extra,
            available=self.available,
            psi_full=self.psi_full,
            running=self.running,
            period=period,
        )

    def _look(self, period: float) -> None:
        self.looks += 1
        seen = self._seen(period)
        self.highest_used = max(self.highest_used, seen.used)
        self.memory, actions = recycle.arbitrate(self.memory, seen, self.now)
        for action in actions:
            slot = self.slots[action.path]
            match action:
                case Trim():
                    self._trim(slot)
                case StartFirst():
                    self._start_first(slot)
                case StopFirst():
                    self._stop_first(slot)
        under_way = sum(slot.recycling for slot in self.slots.values())
        self.most_at_once = max(self.most_at_once, under_way)

    def _trim(self, slot: Slot) -> None:
        self.trims += 1
        child = self.children[slot.pool]
        slot.leaked += child.trims * (self.private(slot) - child.baseline)

    def _start_first(self, slot: Slot) -> None:
        child = self.children[slot.pool]
        assert slot.ready, "a slot that is not ready was to be recycled"
        assert not slot.recycling, "two replacements of one slot"
        slot.recycling = True
        self.starts.append((self.now, slot.path))
        up = self.now + child.start(self.random)
        if child.fails(self.random):
            self.at(up, lambda: self._back(slot))
        else:
            generation = slot.generation
            self.at(up, lambda: self._taken_over(slot, generation))

    def _taken_over(self, slot: Slot, generation: int) -> None:
        if slot.generation == generation:  # else it has crashed meanwhile, and was restarted
            self._fresh(slot)
        self.at(self.now + self.children[slot.pool].drain(self.random), lambda: self._back(slot))

    def _back(self, slot: Slot) -> None:
        slot.recycling = False

    def _stop_first(self, slot: Slot) -> None:
        child = self.children[slot.pool]
        assert slot.ready
        slot.ready, slot.stopping_first = False, True
        self.starts.append((self.now, slot.path))

        def up() -> None:
            slot.stopping_first = False
            self._fresh(slot)

        self.at(self.now + child.drain(self.random) + child.start(self.random), up)

    def crash(self, path: str) -> None:
        """Have a worker die; it is restarted."""
        slot = self.slots[path]
        if slot.ready:
            slot.ready = False
            up = self.now + self.children[slot.pool].start(self.random)
            self.at(up, lambda: self._fresh(slot))

    def _fresh(self, slot: Slot) -> None:
        slot.generation += 1
        slot.born, slot.leaked, slot.ready = self.now, 0.0, True
