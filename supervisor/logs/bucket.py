"""How much of a flood is kept: a token bucket per stream, and what happens when it is empty.

    PASSING ──empty──► HOLDING ──PATIENCE over──► DROPPING ──a second's worth──► PASSING
       ▲                  │ tokens                                (without patience from now on)
       └──────────────────┘

Holding means that the stream stays in its pipe, so that its writer may have to wait: for
`PATIENCE` seconds at most, and only once a flood. Patience comes back when the bucket is full.
"""

import math
from enum import Enum

import msgspec

#: Seconds that a writer may have to wait before lines are dropped.
PATIENCE = 0.5


class Rate(msgspec.Struct, frozen=True):
    """What a stream may write for ever: ``lines`` in each ``period`` (s), and ``bytes`` a second.

    Both may come at once; inf: no limit.
    """

    lines: float = 10_000
    period: float = 30.0
    bytes: float = 8 * 1024 * 1024

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return not (math.isinf(self.lines) and math.isinf(self.bytes))


class Flow(Enum):
    """What is done with a stream now."""

    PASSING = "passing"
    HOLDING = "holding"
    DROPPING = "dropping"


def space_factor(free_bytes: int) -> float:
    """Return how many times more lines are let through where there is room (journald's rule)."""
    return max(1.0, (free_bytes.bit_length() - 17) / 4)


class Gate:
    """The bucket of one stream. Times are monotonic seconds.

    Args:
        rate: what may pass for ever.
        now: the time.

    """

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._lines, self._bytes = rate.lines, rate.bytes
        self._at = now
        self._patient = True
        self._held_since: float | None = None
        self.flow = Flow.PASSING

    def look(self, now: float, factor: float = 1.0) -> tuple[float, float]:
        """Return how many lines and bytes may pass now; `flow` says what to do with the rest."""
        self._fill(now, factor)
        if self.flow is Flow.DROPPING and self._enough(factor):
            self.flow = Flow.PASSING
        elif self.flow is Flow.HOLDING:
            if self._enough(factor):
                self.flow, self._held_since = Flow.PASSING, None
            elif self._held_since is not None and now >= self._held_since + PATIENCE:
                self.flow, self._held_since = Flow.DROPPING, None
                self._patient = False
        if self.flow is Flow.PASSING:
            return max(0.0, self._lines), max(0.0, self._bytes)
        return 0.0, 0.0

    def take(self, lines: int, size: int) -> None:
        """Note what passed."""
        self._lines -= lines
        self._bytes -= size

    def exhausted(self, now: float) -> None:
        """Note that something did not pass."""
        if self._patient:
            self.flow = Flow.HOLDING
            if self._held_since is None:
                self._held_since = now
        else:
            self.flow = Flow.DROPPING

    def wake_at(self, factor: float = 1.0) -> float:
        """Return when a held stream has to be looked at again."""
        rate = self._rate
        lines = max(0.0, self._wanted(factor) - self._lines) / (rate.lines * factor / rate.period)
        size = max(0.0, rate.bytes / 16 - self._bytes) / rate.bytes
        soon = self._at + max(lines if math.isfinite(lines) else 0.0, size)
        return soon if self._held_since is None else min(soon, self._held_since + PATIENCE)

    def _wanted(self, factor: float) -> float:
        """Lines that are worth to begin again for: what a second brings."""
        return min(self._rate.lines, max(1.0, self._rate.lines * factor / self._rate.period))

    def _enough(self, factor: float) -> bool:
        return self._lines >= self._wanted(factor) and self._bytes >= self._rate.bytes / 16

    def _fill(self, now: float, factor: float) -> None:
        rate, passed = self._rate, max(0.0, now - self._at)
        self._at = max(self._at, now)
        if math.isfinite(rate.lines):
            most = rate.lines * factor
            self._lines = min(most, self._lines + most * passed / rate.period)
        if math.isfinite(rate.bytes):
            self._bytes = min(rate.bytes, self._bytes + rate.bytes * passed)
        if self._lines >= rate.lines and self._bytes >= rate.bytes:
            self._patient = True
