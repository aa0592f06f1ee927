"""Rates: at most so many messages a second, with a bounded burst (GCRA, ITU-T I.371).

One number is kept: the theoretical arrival time, up to which what has left is paid for.
"""


class Rate:
    """A limit: in any ``t`` seconds at most ``per_second * t + burst`` messages.

    Args:
        per_second: messages a second in the long run.
        burst: messages that may leave at once; at least 1.

    """

    __slots__ = ("_paid_until", "_tolerance", "per_second")

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second = per_second
        self._tolerance = burst / per_second
        self._paid_until = 0.0

    def allowed(self, now: float) -> int:
        """How many messages may leave now."""
        credit = now + self._tolerance - max(self._paid_until, now)
        return int(credit * self.per_second + 1e-6)  # what rounding has taken

    def spend(self, count: int, now: float) -> None:
        """So many leave."""
        self._paid_until = max(self._paid_until, now) + count / self.per_second

    def ready_at(self) -> float:
        """When the next one may leave."""
        return self._paid_until - self._tolerance + 1 / self.per_second

    def idle(self, now: float) -> bool:
        """Whether nothing has to be remembered of it."""
        return self._paid_until <= now
