"""Deduplication: what was accepted within a window is not accepted again."""

from collections import OrderedDict

#: Keys that are remembered at most; beyond, the oldest are forgotten early.
MAX_KEYS = 100_000


class Window:
    """Remembers keys for a time.

    Args:
        seconds: for how long.

    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: OrderedDict[str, float] = OrderedDict()  # in the order of being added

    def holds(self, key: str, now: float) -> bool:
        """Whether this key was added less than the window ago."""
        until = self._until
        while until:
            oldest = next(iter(until))
            if until[oldest] > now:
                break
            del until[oldest]
        return key in until

    def add(self, key: str, now: float) -> None:
        """Remember a key."""
        self._until[key] = now + self._seconds
        self._until.move_to_end(key)
        if len(self._until) > MAX_KEYS:
            self._until.popitem(last=False)

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._until)
