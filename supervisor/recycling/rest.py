"""Whether a tree has been at rest since the arbiter looked at it: then it need not look again.

A look wakes root, which sleeps on otherwise. Root hears of every start, end and command, so a root
that has not run knows nothing new; and of what nobody hears, memory and threads, /proc tells.
"""

import os
import time
from collections.abc import Iterable

from supervisor.process import sample
from supervisor.recycling import machine

#: Seconds after which it is looked at in any case: workers and templates grow old at rest, too.
LONGEST = 300.0
#: The part of the memory that was available that others may take meanwhile.
TAKEN = 0.1


class Rest:
    """A tree as it was when it was found calm.

    Args:
        root: pid of root, which has come to rest again.
        pids: of all the processes that have been measured.

    """

    def __init__(self, root: int, pids: Iterable[int]) -> None:
        self._until = time.monotonic() + LONGEST
        self._root, self._ran = root, sample.ran_ns(root)
        self._vitals = {pid: sample.vitals(pid) for pid in pids if pid != os.getpid()}
        self._available = machine.available()

    def lasts(self) -> bool:
        """Whether nothing has happened since that the arbiter would have to know of."""
        if time.monotonic() >= self._until or self._ran is None:
            return False
        if sample.ran_ns(self._root) != self._ran or machine.pressure() != machine.Pressure():
            return False
        if machine.available() < (1 - TAKEN) * self._available:
            return False
        return all(found and sample.vitals(pid) == found for pid, found in self._vitals.items())
