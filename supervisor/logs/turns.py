"""Whose turn it is: pipes that have something, in order, and those that have to wait first."""


class Turns:
    """The order in which pipes are served, by descriptor. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.ready: dict[int, None] = {}  # in the order of their turns
        self._later: dict[int, float] = {}  # and until when they wait

    def give(self, fd: int) -> None:
        """Have a pipe served, unless it has to wait."""
        if fd not in self._later:
            self.ready[fd] = None

    def put_off(self, fd: int, until: float) -> None:
        """Let a pipe wait."""
        self._later[fd] = until

    def call(self, now: float) -> None:
        """Give a turn to those that have waited for long enough."""
        for fd in [fd for fd, due in self._later.items() if due <= now]:
            del self._later[fd]
            self.ready[fd] = None

    def timeout(self, now: float) -> float | None:
        """Return the seconds until somebody has waited for long enough; None: nobody waits."""
        return max(0.0, min(self._later.values()) - now) if self._later else None

    def forget(self, fd: int) -> None:
        """Forget a pipe that is closed."""
        self.ready.pop(fd, None)
        self._later.pop(fd, None)
