"""Whether a tree has been at rest since the arbiter looked at it: then it need not look again.

A look wakes root, which sleeps on otherwise. Root hears of every start, end and command, so a root
that has not run knows nothing new; and of what nobody hears, memory and threads, /proc tells.

A process that has not run has not grown either: while no worker has, the question is asked ever
more rarely, at last every `LONGEST` seconds. So a worker for which nobody has looked for long has
been idle for as long; and root tells (`supervisor.link.Nudge`) when one starts, ends, or beats.
"""

import math
import os
import time
from collections.abc import Iterable

from supervisor.process import sample
from supervisor.recycling import machine

#: Seconds between two questions at most; and from a look to the next one if somebody has run.
LONGEST = 300.0
#: The part of the memory that was available that others may take meanwhile.
TAKEN = 0.1
#: Nobody waits for memory; or the kernel does not say.
AT_EASE = (machine.Pressure(), None)


class Rest:
    """A tree as it was when it was found calm.

    ``idle``: no worker has run since. ``wait``: seconds until it is to be asked whether it lasts.

    Args:
        root: pid of root, which has come to rest again.
        workers: pids of those that have been measured.
        others: of the runtime's own that have been.
        every: seconds between two questions at first, and while workers run.
        longest: and while none does.
        seconds: until something falls due in any case.

    """

    def __init__(
        self,
        root: int,
        workers: Iterable[int],
        others: Iterable[int],
        every: float,
        longest: float = LONGEST,
        seconds: float = math.inf,
    ) -> None:
        now = time.monotonic()
        self._until, self._busy_until = now + seconds, now + LONGEST
        self._root, self._root_ran = root, sample.ran_ns(root)
        self._workers = frozenset(workers)
        pids = self._workers.union(others) - {os.getpid()}
        self._ran = {pid: sample.ran_ns(pid) for pid in pids}
        self._vitals = {pid: sample.vitals(pid) for pid in pids}
        self._available = machine.available() or 0
        self._every, self._longest, self._interval = every, longest, every
        self.idle = True

    @property
    def wait(self) -> float:
        """Seconds until it is to be asked whether it lasts."""
        return max(0.0, min(self._interval, self._until - time.monotonic()))

    def lasts(self) -> bool:
        """Whether nothing has happened since that the arbiter would have to know of."""
        now = time.monotonic()
        if now >= self._until or self._root_ran is None:
            return False
        if sample.ran_ns(self._root) != self._root_ran or machine.pressure() not in AT_EASE:
            return False
        if (machine.available() or 0) < (1 - TAKEN) * self._available:
            return False
        ran = {pid: sample.ran_ns(pid) for pid in self._ran}
        have_run = {
            pid for pid, before in self._ran.items() if before is None or ran[pid] != before
        }
        self._ran = ran
        if self._workers.isdisjoint(have_run):
            self._interval = min(2 * self._interval, self._longest)
        elif now >= self._busy_until:  # descriptors may have grown: of them nothing is known here
            return False
        else:
            self._interval, self.idle = self._every, False
        return all(self._is_as_before(pid) for pid in have_run)

    def _is_as_before(self, pid: int) -> bool:
        before = self._vitals[pid]
        return before is not None and sample.vitals(pid) == before
