"""Steps of the wall clock, to be noted: nothing is timed by it, but logs and status show it.

Somebody who reads records from before and after a step must know that there was one. A machine that
was asleep looks the same: its monotonic clock stood still.
"""

from collections.abc import Callable

#: Seconds by which the clocks may part between two looks: more is a step, less is slewing by NTP.
STEP = 1.0


class ClockWatch:
    """Compares the two clocks whenever it is told the time.

    Args:
        wall: the wall clock, in Unix seconds.
        stepped: called with the seconds that it was set forward (negative: back).

    """

    def __init__(self, wall: Callable[[], float], stepped: Callable[[float], None]) -> None:
        self._wall, self._stepped = wall, stepped
        self._offset: float | None = None

    def look(self, now: float) -> None:
        """See whether the wall clock was set since the last look; ``now``: monotonic seconds."""
        offset = self._wall() - now
        before, self._offset = self._offset, offset
        if before is not None and abs(offset - before) > STEP:
            self._stepped(offset - before)
