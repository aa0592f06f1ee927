"""What was last known of processes that are not there any more, for the reports of their ends."""

from collections import deque
from collections.abc import Mapping

from supervisor.recycling.report import Departed, SlotReport

#: Processes that are remembered, and for how many seconds.
MOST, REMEMBERED = 100, 60.0


class Departures:
    """Sees which processes are not there any more from one report to the next."""

    def __init__(self) -> None:
        self._last: dict[str, Departed] = {}  # those that were there, by path
        self._gone: deque[Departed] = deque(maxlen=MOST)

    def see(self, at: float, slots: Mapping[str, SlotReport]) -> list[Departed]:
        """Note what there is now, and return what there was.

        Args:
            at: Unix seconds.
            slots: by path.

        """
        for path, one in self._last.items():
            if path not in slots or slots[path].pid != one.slot.pid:
                self._gone.append(one)
        self._last = {path: Departed(path, at, slot) for path, slot in slots.items() if slot.pid}
        while self._gone and at - self._gone[0].at > REMEMBERED:
            self._gone.popleft()
        return list(self._gone)
