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

    def add(self, key: str, now: float) -> float:
        """Remember a key; return until when."""
        self._until[key] = until = now + self._seconds
        self._until.move_to_end(key)
        if len(self._until) > MAX_KEYS:
            self._until.popitem(last=False)
        return until

    def forget(self, key: str) -> None:
        """Forget a key: what had it was not taken in after all."""
        self._until.pop(key, None)

    def restore(self, keys: dict[str, float]) -> None:
        """Know again the keys that the store has kept, those that end first first."""
        self._until = OrderedDict(keys)

    def keys(self) -> dict[str, float]:
        """Return the keys, and until when each is remembered."""
        return dict(self._until)

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._until)
