"""The arbiter: who is recycled, when and how. A pure function of what was seen.

``arbitrate(memory, seen, now) -> (memory, actions)``, some few actions at a time. How it works:

1. every slot over one of its thresholds asks, with a class: the lower, the more urgent;
2. a tree over its budget asks for the slot that grew most above its own baseline;
3. in order of urgency each is granted, tried more gently first (`Trim`), or deferred.

What may not happen is in `_hindrance`: too many at once, too soon one after the other, a pool that
is short of workers, a worker that was replaced over and over without it getting any better. An
emergency (`Class.HARD`) knows only the first two, and does not wait for a tree to be up.

Whether a replacement has succeeded is seen, not heard: then its slot has a new generation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from supervisor.core.census import PoolView, Seen, SlotView
from supervisor.core.orders import Order, Record, settle, tally
from supervisor.core.thresholds import SOFT_CEILING, Bounds, Surroundings, effective, spread, width

#: Part of the budget above which the tree as a whole asks; above the second, nothing may surge.
BUDGET_HIGH, BUDGET_FULL = 0.90, 0.97
#: Percent of time that tasks were stalled for want of memory (PSI avg10).
PSI_SOME_LIMIT, PSI_FULL_LIMIT = 20.0, 10.0
#: Parts of queue and pool in use above which a planned recycle waits for a quieter moment.
BUSY = 0.90
#: Seconds after the request to trim until its success is judged, and until it is tried again.
TRIM_WAIT, TRIM_AGAIN = 2.0, 600.0
#: A trim that brings private memory below this part of the threshold was enough.
TRIM_ENOUGH = 0.9
#: Seconds to end in that a worker over its hard limit is given.
HARD_PATIENCE = 5.0
LEAST_SPACING = 1.0
#: Workers to one replacement at a time.
WORKERS_PER_TOKEN = 10
#: Slots that will be over their hard limit within so many seconds stand in line.
SOON = 3600.0
#: Actions of one look, at most.
MAX_ACTIONS = 16


class Class(IntEnum):
    """Why a slot is to be recycled, the most urgent first."""

    HARD = 0  # over its hard limit
    BUDGET = 1  # the tree is over its budget, and this slot grew most
    ETA = 2  # will be over its hard limit before a planned replacement could be through
    SOFT = 3
    HANDLES = 4  # descriptors or threads
    TEMP = 5  # temp files
    AGE = 6
    MESSAGES = 7

    @property
    def planned(self) -> bool:
        """Whether it can wait for a good moment."""
        return self >= Class.SOFT


# --- what is to be done ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trim:
    """Ask a worker to give back what it can, between two messages."""

    path: str


@dataclass(frozen=True, slots=True)
class StartFirst:
    """Replace: the new one is ready before the old one goes. ``patience``: seconds to drain."""

    path: str
    why: Class
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class StopFirst:
    """Replace where there is no room for two: costs capacity, which is counted."""

    path: str
    why: Class
    patience: float = HARD_PATIENCE


Action = Trim | StartFirst | StopFirst


@dataclass(frozen=True, slots=True)
class Deferral:
    """Somebody who asked, and why not now."""

    path: str
    why: Class
    because: str


# --- what is remembered ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """What the arbiter remembers from one look to the next."""

    records: Mapping[str, Record] = field(default_factory=dict)
    last_start: float = float("-inf")
    recycled: int = 0
    failed: int = 0
    stopped_first: int = 0
    deferred: tuple[Deferral, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ask:
    slot: SlotView
    why: Class
    bounds: Bounds

    @property
    def order(self) -> tuple[int, float, float, str]:
        return (self.why, -self.slot.private / max(1, self.bounds.hard), -self.slot.age,
                self.slot.path)  # fmt: skip


def bounds_of(seen: Seen, slot: SlotView) -> Bounds:
    """Return a slot's limits with the automatic ones filled in.

    Until its baseline is known it is what the worker had when it got ready: its successors would be
    over a limit below that, too, as soon as they are.
    """
    pool = seen.pools[slot.pool]
    around = Surroundings(seen.policy.budget, len(seen.slots), pool.nofile)
    return effective(pool.limits, around, slot.least or None, slot.fresh_threads)


def arbitrate(memory: Memory, seen: Seen, now: float) -> tuple[Memory, tuple[Action, ...]]:
    """Decide what is to be done now.

    Args:
        memory: as returned the last time.
        seen: what the tree looks like.
        now: monotonic float seconds.

    """
    records = settle(memory.records, seen.slots, now)
    recycled, failed = tally(memory.records, records)
    memory = replace(
        memory,
        records=records,
        recycled=memory.recycled + recycled,
        failed=memory.failed + failed,
    )
    return _Round(memory, seen, now).decide()


def is_full(seen: Seen) -> bool:
    """Whether a tree has no memory for more: nothing may surge, and less is worked on at once."""
    return seen.used > BUDGET_FULL * seen.policy.budget or seen.psi_full > PSI_FULL_LIMIT


def has_room(seen: Seen) -> bool:
    """Whether that is well over."""
    return not is_full(seen) and seen.used <= BUDGET_HIGH * seen.policy.budget


def next_age(seen: Seen) -> float:
    """Return the seconds until the first worker is over its limit of age; inf: none ever is."""
    look = _Round(Memory(), seen, 0.0)
    return min((look.age_left(slot) for slot in seen.slots if slot.ready), default=float("inf"))


# --- one look ----------------------------------------------------------------------------------


class _Round:
    """One look: who asks, who is granted."""

    def __init__(self, memory: Memory, seen: Seen, now: float) -> None:
        self._memory, self._seen, self._now = memory, seen, now
        self._records = dict(memory.records)
        self._bounds = {slot.path: bounds_of(seen, slot) for slot in seen.slots}
        self._in_line = self._lines()
        busy = [slot for slot in seen.slots if slot.recycling or self._ordered(slot)]
        self._under_way = len(busy)
        self._by_pool: dict[str, int] = {}
        for slot in busy:
            self._by_pool[slot.pool] = self._by_pool.get(slot.pool, 0) + 1
        self._last_start = memory.last_start
        self._available = seen.available
        most = seen.policy.max_concurrent
        self._tokens = most or max(1, len(seen.slots) // WORKERS_PER_TOKEN)
        self._full = is_full(seen)

    def decide(self) -> tuple[Memory, tuple[Action, ...]]:
        self._judge_trims()
        actions: list[Action] = []
        deferred: list[Deferral] = []
        for ask in sorted(self._asks(), key=lambda ask: ask.order):
            because = self._hindrance(ask)
            outcome = because if because is not None else self._grant(ask)
            if isinstance(outcome, str):
                deferred.append(Deferral(ask.slot.path, ask.why, outcome))
            else:
                actions.append(outcome)
            if len(actions) == MAX_ACTIONS:
                break
        stopped = sum(isinstance(action, StopFirst) for action in actions)
        memory = replace(
            self._memory,
            records=self._records,
            last_start=self._last_start,
            stopped_first=self._memory.stopped_first + stopped,
            deferred=tuple(deferred),
        )
        return memory, tuple(actions)

    def age_left(self, slot: SlotView) -> float:
        """Return the seconds until a slot is over its limit of age, and may be replaced for it."""
        most = self._bounds[slot.path].max_age
        least = self._seen.pools[slot.pool].limits.min_lifetime
        return max(least, self._spread(slot, most, most)) - slot.age

    def _judge_trims(self) -> None:
        """A worker that has given back enough in time stays."""
        for slot in self._seen.slots:
            record = self._records.get(slot.path)
            if record is None or not record.trimming or record.trimmed_at is None:
                continue
            enough = slot.private < TRIM_ENOUGH * self._soft(slot)
            if enough and self._now - record.trimmed_at >= TRIM_WAIT:
                self._records[slot.path] = replace(record, trimming=False)

    # --- who asks ------------------------------------------------------------------------------

    def _asks(self) -> list[_Ask]:
        free = [s for s in self._seen.slots if s.ready and not s.recycling and not self._ordered(s)]
        asks: dict[str, _Ask] = {}
        for slot in free:
            why = self._class_of(slot)
            if why is not None and (why is Class.HARD or self._seen.running):
                asks[slot.path] = _Ask(slot, why, self._bounds[slot.path])
        if self._over_budget and free and self._seen.running:
            worst = max(free, key=lambda slot: (slot.private - slot.least, slot.path))
            if worst.path not in asks or asks[worst.path].why > Class.BUDGET:
                asks[worst.path] = _Ask(worst, Class.BUDGET, self._bounds[worst.path])
        return list(asks.values())

    @property
    def _over_budget(self) -> bool:
        return self._full or self._seen.used > BUDGET_HIGH * self._seen.policy.budget

    def _class_of(self, slot: SlotView) -> Class | None:
        """Return the most urgent reason there is to recycle a slot, if there is any."""
        pool, bounds = self._seen.pools[slot.pool], self._bounds[slot.path]
        if slot.private > bounds.hard:
            return Class.HARD
        if slot.path in self._in_line:
            turns = 2 + self._in_line[slot.path]
            if self._eta(slot) < turns * (pool.cycle + self._seen.period):
                return Class.ETA
        if slot.private > self._soft(slot) * (TRIM_ENOUGH if self._record(slot).trimming else 1):
            return Class.SOFT
        if slot.fds > bounds.max_fds > 0 or slot.threads > bounds.max_threads > 0:
            return Class.HANDLES
        most = pool.limits.max_temp
        if most > 0 and slot.temp > self._spread(slot, most, float("inf")):
            return Class.TEMP
        if slot.age > self._spread(slot, bounds.max_age, bounds.max_age):
            return Class.AGE
        if 0 < bounds.max_messages < slot.messages:
            rate = slot.messages / max(slot.age, 1e-9)
            base = bounds.max_messages
            if slot.messages > self._spread(slot, base, base / rate):
                return Class.MESSAGES
        return None

    def _eta(self, slot: SlotView) -> float:
        """Return the seconds until a slot will be over its hard limit."""
        if slot.trend is None or slot.trend <= 0:
            return float("inf")
        return (self._bounds[slot.path].hard - slot.private) / slot.trend

    def _lines(self) -> dict[str, int]:
        """Return how many of its child are before each growing slot in the line for replacement.

        They are replaced one after the other: the last must ask while there is time for them all.
        """
        etas = {slot.path: self._eta(slot) for slot in self._seen.slots}
        growing = [slot for slot in self._seen.slots if etas[slot.path] < SOON]
        before: dict[str, int] = {}
        line: dict[str, int] = {}
        for slot in sorted(growing, key=lambda slot: etas[slot.path]):
            line[slot.path] = before.get(slot.pool, 0)
            before[slot.pool] = line[slot.path] + 1
        return line

    def _soft(self, slot: SlotView) -> float:
        bounds = self._bounds[slot.path]
        growing = slot.trend is not None and slot.trend > 0
        seconds = bounds.soft / slot.trend if growing and slot.trend else float("inf")
        return min(self._spread(slot, bounds.soft, seconds), SOFT_CEILING * bounds.hard)

    def _spread(self, slot: SlotView, base: float, seconds: float) -> float:
        pool = self._seen.pools[slot.pool]
        part = width(pool.target, pool.cycle, seconds)
        return spread(base, slot.slot, pool.target, part, slot.lot)

    # --- who is granted ------------------------------------------------------------------------

    def _hindrance(self, ask: _Ask) -> str | None:
        """Say why not now; None if nothing stands against it."""
        seen, slot = self._seen, ask.slot
        pool, record = seen.pools[slot.pool], self._record(slot)
        spacing = seen.policy.spacing or max(LEAST_SPACING, pool.start)
        if self._under_way >= self._tokens:
            return "others are being recycled"
        if self._by_pool.get(slot.pool, 0) >= max(pool.max_surge, pool.max_unavailable):
            return "another slot of this child is being recycled"
        if self._now - self._last_start < spacing:
            return "spacing"
        if ask.why >= Class.BUDGET:
            if pool.crash_loop:
                return "the child is in a crash loop"
            if pool.ready < pool.target - pool.max_unavailable:
                return "the child is short of ready workers"
        return self._planned_hindrance(ask, pool, record) if ask.why.planned else None

    def _planned_hindrance(self, ask: _Ask, pool: PoolView, record: Record) -> str | None:
        if ask.slot.age < pool.limits.min_lifetime:
            return "min_lifetime"
        if pool.queue_used > BUSY and pool.busy > BUSY:
            return "the queue is full and all workers are busy"
        if self._seen.psi_some > PSI_SOME_LIMIT:
            return "the machine is short of memory"
        if self._now < record.hold_until:
            return "recycle_thrash"
        if self._now < record.blocked_until:
            return "recycle_blocked"
        return None

    def _grant(self, ask: _Ask) -> Action | str:
        slot, pool = ask.slot, self._seen.pools[ask.slot.pool]
        record = self._record(slot)
        if ask.why is Class.SOFT and pool.limits.trim:
            trimmed = record.trimmed_at
            if trimmed is None or self._now - trimmed > TRIM_AGAIN:
                self._records[slot.path] = replace(record, trimmed_at=self._now, trimming=True)
                return Trim(slot.path)
            if self._now - trimmed < TRIM_WAIT:
                return "trimming"
        need = max(slot.least, 1)
        roomy = self._available - need >= self._seen.policy.surge_reserve and not self._full
        if not roomy and ask.why > Class.BUDGET:
            return "no memory for two at once"
        self._begin(slot, record, need)
        patience = HARD_PATIENCE if ask.why is Class.HARD else None
        if roomy:
            return StartFirst(slot.path, ask.why, patience)
        return StopFirst(slot.path, ask.why)

    def _begin(self, slot: SlotView, record: Record, need: int) -> None:
        order = Order(slot.generation, self._now, slot.age)
        self._records[slot.path] = replace(record, order=order, trimming=False)
        self._under_way += 1
        self._by_pool[slot.pool] = self._by_pool.get(slot.pool, 0) + 1
        self._last_start = self._now
        self._available -= need

    def _record(self, slot: SlotView) -> Record:
        return self._records.get(slot.path) or Record(slot.generation)

    def _ordered(self, slot: SlotView) -> bool:
        record = self._records.get(slot.path)
        return record is not None and record.order is not None
