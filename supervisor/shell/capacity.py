"""How much capacity a slot has lost: worker-seconds in which it was meant to serve and did not.

Counted from the moment its ready process ends, or is stopped to be replaced, until the next one is
ready. A slot that an operator has stopped is not meant to serve.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Capacity:
    """The account of one slot."""

    lost: float = 0.0  # worker-seconds, up to the last return
    lost_since: float | None = None  # Unix seconds, to be shown
    _lost_at: float = 0.0
    _was_ready: bool = False

    def update(self, ready: bool, wanted: bool, now: float, wall: float) -> None:
        """Note the state of the process that is shown for the slot.

        Args:
            ready: it serves.
            wanted: nobody has asked for the slot to be empty.
            now: monotonic seconds.
            wall: Unix seconds.

        """
        if ready:
            if self.lost_since is not None:
                self.lost += now - self._lost_at
            self.lost_since = None
        elif not wanted:
            self.lost_since = None
        elif self._was_ready:
            self.lost_since, self._lost_at = wall, now
        self._was_ready = ready
