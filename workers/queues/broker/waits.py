"""For how long the producers of a queue were held back: measured, not counted by message."""


class Waits:
    """Times are seconds since 1970 by the broker's clock."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # by connection; the longest first
        self._over = 0.0  # seconds of those that have ended

    def begun(self, number: int, now: float) -> None:
        """A connection is held back, if it was not before."""
        self._since.setdefault(number, now)

    def ended(self, number: int, now: float) -> None:
        """It is not any more, if it was."""
        since = self._since.pop(number, None)
        if since is not None:
            self._over += now - since

    def total(self, now: float) -> float:
        """Return the seconds of all of them, those included that go on."""
        return self._over + sum(now - since for since in self._since.values())

    def longest(self, now: float) -> float:
        """Return for how long that one is held back which has waited longest; 0: none is."""
        return max(0.0, now - next(iter(self._since.values()), now))

    def __len__(self) -> int:
        """Count those that are held back."""
        return len(self._since)
