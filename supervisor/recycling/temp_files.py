"""What living workers have in their temp directories (`supervisor.process.tempdir`)."""

import os
import time
from collections.abc import Callable, Mapping

from supervisor.doctor.sizes import bytes_below
from supervisor.process.tempdir import is_abandoned, owner_of

#: Seconds between two looks.
EVERY = 10.0
#: A look may take one in so many parts of the time.
COST_FACTOR = 200.0


def living(base: str) -> dict[int, str]:
    """Return the temp directories of processes that live, by pid; ``base``: where they all are."""
    found: dict[int, str] = {}
    try:
        names = os.listdir(base)
    except OSError:
        return found
    for name in names:
        owner = owner_of(name)
        if owner is not None and not is_abandoned(name):
            found[owner[0]] = os.path.join(base, name)
    return found


class TempFiles:
    """Measures, now and then.

    Args:
        base: where the directories are; None: there are none.
        clock: monotonic seconds.

    """

    def __init__(self, base: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._base, self._clock = base, clock
        self._due = clock()
        self._sizes: dict[int, int] = {}  # by pid

    def look(self, pids: Mapping[str, int]) -> dict[str, int]:
        """Return the bytes that processes have there, by path; of some seconds ago.

        Args:
            pids: by path: those that have a limit.

        """
        now = self._clock()
        if pids and self._base is not None and now >= self._due:
            directories = living(self._base)
            wanted = directories.keys() & set(pids.values())
            self._sizes = {pid: bytes_below(directories[pid]) for pid in wanted}
            self._due = now + max(EVERY, COST_FACTOR * (self._clock() - now))
        return {path: self._sizes.get(pid, 0) for path, pid in pids.items()}
