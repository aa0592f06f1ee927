"""When a slot is due for recycling: its limits, the automatic ones, and the stagger over a pool.

Every planned threshold of a pool is spread over its slots,

    threshold(slot) = base * (1 + width * slot / slots) +- 1 %

so that slots that started together, or leak alike, do not come due together. The emergency limit
(``memory_hard``) is not spread: it is the same promise for all.

Sizes are bytes, durations float seconds. A limit of None, or of 0 messages, is off.
"""

from dataclasses import dataclass, replace
from enum import Enum

MIB = 1 << 20
#: A pool's automatic hard limit is never less, and never below `HARD_BASELINES` baselines.
LEAST_HARD = 192 * MIB
HARD_BASELINES = 3.0
#: The hard limit of a child that is not recycled for its memory; the budget where there is none.
UNLIMITED = 1 << 60
#: The automatic hard limit: so many times an even share of the tree's budget.
HARD_SHARES = 1.5
#: The automatic soft limit, as a part of the hard one.
SOFT_OF_HARD = 0.6
#: A soft limit must leave a worker this many of its own baselines ...
LEAST_SOFT = 1.3
#: ... else it is raised to so many, and a hard one that is as low to so many.
RAISED_SOFT = 1.5
RAISED_HARD = 2.0
#: A staggered soft threshold stays below this part of the hard one.
SOFT_CEILING = 0.95
#: The part of the base over which a pool's thresholds are spread.
LEAST_WIDTH, MOST_WIDTH = 0.10, 0.50
#: Replacements of a whole pool, one after the other, take so much of the spread at most.
WIDTH_CYCLES = 1.5
JITTER = 0.01
#: A worker may have so many times the threads that it had as its baseline.
THREAD_BASELINES = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may grow to before it is recycled. None: found out by itself, see `effective`.

    ``inf``, and 0 messages or bytes of temp files: never.
    """

    memory_soft: int | None = None
    memory_hard: int | None = None
    max_age: float = 86_400.0
    max_messages: int = 0
    max_fds: int | None = None
    max_threads: int | None = None
    max_temp: int = 0
    min_lifetime: float = 60.0
    trim: bool = True


class Oddity(Enum):
    """What is wrong with a child's limits: shown as a warning of health."""

    SOFT_BELOW_BASELINE = "memory_soft is below 1.3 times what the worker needs when it is fresh"
    HARD_BELOW_BASELINE = "memory_hard is below 1.3 times what the worker needs when it is fresh"


@dataclass(frozen=True, slots=True)
class Bounds:
    """A slot's limits with every automatic one filled in, before the stagger."""

    soft: int
    hard: int
    max_age: float
    max_messages: int
    max_fds: int
    max_threads: int
    oddity: Oddity | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What automatic limits depend on.

    ``budget`` of the tree in bytes (`UNLIMITED`: it is not known how much memory there is),
    ``workers`` in it, ``nofile`` the workers' RLIMIT_NOFILE.
    """

    budget: int
    workers: int
    nofile: int = 1024


def effective(
    limits: Limits, around: Surroundings, baseline: int | None, threads: int = 1
) -> Bounds:
    """Fill in the automatic limits, and raise those that would recycle a fresh worker for ever.

    Args:
        limits: as declared.
        around: the tree's budget and size.
        baseline: private bytes of the worker when fresh; None while that is not known.
        threads: of the worker when fresh.

    """
    hard = limits.memory_hard
    if hard is None and limits.memory_soft is not None:
        hard = round(limits.memory_soft / SOFT_OF_HARD)
    if hard is None:
        share = round(HARD_SHARES * around.budget / max(1, around.workers))
        hard = max(share, LEAST_HARD, round(HARD_BASELINES * (baseline or 0)))
        hard = UNLIMITED if around.budget >= UNLIMITED else hard
    soft = limits.memory_soft if limits.memory_soft is not None else round(SOFT_OF_HARD * hard)
    max_fds = limits.max_fds if limits.max_fds is not None else round(0.8 * around.nofile)
    most_threads = limits.max_threads
    if most_threads is None:
        most_threads = THREAD_BASELINES * max(1, threads)
    bounds = Bounds(soft, hard, limits.max_age, limits.max_messages, max_fds, most_threads)
    return bounds if baseline is None else _above(bounds, baseline)


def _above(bounds: Bounds, baseline: int) -> Bounds:
    """Keep the limits clear of the baseline."""
    if bounds.soft < LEAST_SOFT * baseline:
        soft = round(RAISED_SOFT * baseline)
        bounds = replace(bounds, soft=soft, oddity=Oddity.SOFT_BELOW_BASELINE)
    if bounds.hard < LEAST_SOFT * baseline:
        bounds = replace(bounds, oddity=Oddity.HARD_BELOW_BASELINE)
    if bounds.hard <= bounds.soft:
        bounds = replace(bounds, hard=max(bounds.soft + 1, round(RAISED_HARD * baseline)))
    return bounds


def width(slots: int, cycle: float, base: float) -> float:
    """Return the part of the base over which a pool is spread.

    Args:
        slots: of the pool.
        cycle: seconds that one replacement takes, start and drain.
        base: seconds that a worker takes to reach the base; inf if that is not known.

    """
    wanted = WIDTH_CYCLES * slots * cycle / base if base > 0 else MOST_WIDTH
    return min(MOST_WIDTH, max(LEAST_WIDTH, wanted))


def spread(base: float, slot: int, slots: int, part: float, lot: float) -> float:
    """Return a slot's own threshold. ``part``: see `width`; ``lot``: 0 to 1, drawn by the slot."""
    jitter = JITTER * (2 * lot - 1)
    return base * (1 + part * slot / max(1, slots) + jitter)
