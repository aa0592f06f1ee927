"""When a message that failed is tried again: backoff with full jitter, and a budget for all."""

from collections.abc import Callable

#: Retries a second that the budget always pays for.
FLOOR = 10.0
#: Seconds of the floor, and first tries' worth of retries, that can be saved up.
SAVED_SECONDS = 10.0
#: A number from 0 to below 1.
Jitter = Callable[[], float]
#: Doublings after which a delay is at its cap, whatever the base.
MAX_DOUBLINGS = 64


def backoff(attempt: int, base: float, cap: float, jitter: Jitter) -> float:
    """Seconds until a message is tried again that has failed ``attempt`` times.

    Uniform between 0 and ``base * 2 ** (attempt - 1)``, at most ``cap`` (full jitter: clients that
    failed together do not come back together).
    """
    return jitter() * min(cap, base * 2.0 ** min(attempt - 1, MAX_DOUBLINGS))


class Budget:
    """Retries may be a fraction of the first tries, and `FLOOR` a second beside.

    An outage then costs its messages time, and what is behind the handlers is not overrun by
    retries when it comes back.

    Args:
        ratio: retries per first try.

    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._most = FLOOR * SAVED_SECONDS
        self._tokens = self._most
        self._at = 0.0

    def first_tries(self, count: int) -> None:
        """So many messages were delivered for the first time."""
        self._tokens = min(self._most, self._tokens + self._ratio * count)

    def take(self, now: float) -> float:
        """Pay for a retry; return 0.0, or the seconds to wait because it cannot be paid for."""
        if self._at:
            self._tokens = min(self._most, self._tokens + FLOOR * max(0.0, now - self._at))
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / FLOOR
