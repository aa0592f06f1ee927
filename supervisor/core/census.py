"""The census that the arbiter decides upon: what was seen of every slot, child and of the tree.

Sizes are bytes, durations float seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.core.thresholds import Limits

#: Memory that must stay available when a replacement starts beside the old process.
LEAST_RESERVE = 256 << 20


@dataclass(frozen=True, slots=True)
class SlotView:
    """What was seen of one slot. ``generation`` counts its processes.

    ``fresh``: private bytes when it got ready, if it has told; ``baseline``: those of a warm worker
    without what it has leaked, once known. ``trend``: bytes a second, once known. ``temp``: bytes
    of its temp files, if they are limited. ``lot``: a random number of its own from 0 to 1, the
    same on every look.
    """

    path: str
    pool: str
    slot: int
    generation: int
    ready: bool = True
    recycling: bool = False
    age: float = 0.0
    private: int = 0
    fresh: int | None = None
    baseline: int | None = None
    trend: float | None = None
    fds: int = 0
    threads: int = 1
    fresh_threads: int = 1
    temp: int = 0
    messages: int = 0
    lot: float = 0.5

    @property
    def least(self) -> int:
        """Private bytes that it needs at least, as far as that is known."""
        return (self.fresh if self.baseline is None else self.baseline) or 0


@dataclass(frozen=True, slots=True)
class PoolView:
    """What was seen of one Child. ``target`` is the number of slots that ought to be ready.

    ``queue_used``: the part of its queue in use; ``busy``: of the queue's consumers, at work.
    ``start``: seconds of a start; ``cycle``: of a start, the soak and a drain (the longest).
    """

    limits: Limits = field(default_factory=Limits)
    target: int = 1
    ready: int = 1
    crash_loop: bool = False
    queue_used: float = 0.0
    busy: float = 0.0
    cycle: float = 0.5
    start: float = 0.5
    max_surge: int = 1
    max_unavailable: int = 0
    nofile: int = 1024


@dataclass(frozen=True, slots=True)
class Policy:
    """The tree's own settings. None: found out by itself.

    ``budget``: private bytes of the whole tree. ``spacing``: seconds between two starts.
    """

    budget: int
    max_concurrent: int | None = None
    spacing: float | None = None
    surge_reserve: int = LEAST_RESERVE


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the tree. ``used``: private bytes of all, root's included.

    ``running``: False while it is still being started, or is reloaded.
    """

    policy: Policy
    slots: tuple[SlotView, ...]
    pools: Mapping[str, PoolView]
    used: int = 0
    available: int = 1 << 62
    psi_some: float = 0.0
    psi_full: float = 0.0
    running: bool = True
    period: float = 1.0  # seconds between two looks
