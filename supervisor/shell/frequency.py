"""How often a slot has crashed of late, and which of its crashes are worth a report."""

#: Seconds that are looked back over, and crashes that are counted in them at most.
WINDOW, MOST = 600.0, 100
#: The first so many are told of (a message that kills has fewer attempts), then one in so many
#: seconds.
FIRST, EVERY = 10, 10.0


class Frequency:
    """Counts the crashes of one slot."""

    __slots__ = ("_times", "_told_at")

    def __init__(self) -> None:
        self._times: list[float] = []
        self._told_at = 0.0

    def add(self, now: float) -> tuple[int, bool]:
        """Count one more; ``now``: monotonic seconds.

        Returns:
            how many there were within `WINDOW` (`MOST`: that or more), and whether to tell of it.

        """
        times = self._times
        while times and (len(times) == MOST or now - times[0] > WINDOW):
            del times[0]
        times.append(now)
        is_told = len(times) <= FIRST or now - self._told_at >= EVERY
        if is_told:
            self._told_at = now
        return len(times), is_told
