"""Shedding: refuse at once what would come too late, instead of serving everything too late.

Two rules, of which the first is for messages that have a deadline:

* Deadline admission: refused when what is in the queue takes longer than the time that is left,
  by the rate at which it was worked off lately.
* Controlled delay (Nichols and Jacobson, 2012): when even the shortest wait has been above
  ``target`` for ``interval``, one is refused, and then one more after interval / sqrt(n), until
  a wait is below the target again.
"""

import math

#: Of CoDel: a wait that is fine, and how long a burst may take; seconds, for queues without ttl.
TARGET, INTERVAL = 0.005, 0.1
#: With a ttl: shares of it.
TARGET_SHARE, INTERVAL_SHARE = 0.05, 1.0
#: The time left that may be planned with: the estimate is one.
MARGIN = 0.8
#: Seconds over which the rate is measured.
PERIOD = 0.25


class Shedder:
    """Watches how long messages wait, and says which are refused.

    Args:
        ttl: seconds in which a message of the queue expires; None: never.

    """

    def __init__(self, ttl: float | None) -> None:
        self._target = TARGET if ttl is None else ttl * TARGET_SHARE
        self._interval = INTERVAL if ttl is None else ttl * INTERVAL_SHARE
        self._above_since = 0.0  # even the shortest wait has been too long since then; 0: it is not
        self._refused = 0  # in this episode
        self._next = 0.0  # the next one is refused then
        self._rate = 0.0  # messages settled a second; 0: not known
        self._period_start = 0.0
        self._settled = 0
        self._was_empty = True

    def waited(self, seconds: float, now: float) -> None:
        """A message was delivered after so long."""
        if seconds < self._target:
            self._above_since, self._refused = 0.0, 0
        elif not self._above_since:
            self._above_since = now

    def settled(self, count: int, depth: int, now: float) -> None:
        """So many were settled, and so many are left."""
        self._settled += count
        self._was_empty = self._was_empty or not depth
        elapsed = now - self._period_start
        if elapsed < PERIOD:
            return
        rate = self._settled / elapsed
        if not self._was_empty:  # else it could have been more
            self._rate = (self._rate + rate) / 2 if self._rate else rate
        else:
            self._rate = max(self._rate, rate)
        self._period_start, self._settled, self._was_empty = now, 0, not depth

    def refuses(self, depth: int, left: float, now: float) -> bool:
        """Whether one more message is refused; ``left``: seconds until it expires, 0: never."""
        if left and self._rate and depth / self._rate > left * MARGIN:
            return True
        if not depth:
            self._above_since, self._refused = 0.0, 0
            return False
        if not self._above_since or now < self._above_since + self._interval:
            return False
        if self._refused and now < self._next:
            return False
        self._refused += 1
        self._next = now + self._interval / math.sqrt(self._refused)
        return True
