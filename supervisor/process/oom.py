"""Telling the kernel's out-of-memory kills from other SIGKILLs.

The kernel counts its OOM kills by the memory cgroup of the victim. A process that died of a SIGKILL
which was not ours, when that count has grown by one that is not accounted for yet, was killed for
want of memory. A worker that the arbiter has confined has a cgroup, and so a count, of its own.

All supervisors of an app see the same count. Which of its kills are accounted for is the length of
a file: who claims one appends a byte, which needs no lock.
"""

import os
import re

from supervisor.recycling import machine

_COUNT = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
MAX_BYTES = 64 * 1024
#: Where a memory cgroup counts kills: of version 2, with those of the groups below; of version 1.
EVENTS, CONTROL = "memory.events", "memory.oom_control"


def confinement(pid: int) -> str | None:
    """Return the directory of the cgroup that confines one worker; it need not exist."""
    cgroup = machine.cgroup()
    return None if cgroup is None else f"{cgroup[0]}/letitcrash-{pid}"


class OomKills:
    """Counts the kernel's OOM kills.

    Args:
        ledger: the file whose length is the number of kills that are accounted for.
        path: where the kernel counts them; found out by itself if left out.

    """

    def __init__(self, ledger: str, path: str | None = None) -> None:
        cgroup = machine.cgroup()
        self._file = EVENTS if cgroup and cgroup[1] else CONTROL
        path = path or (f"{cgroup[0]}/{self._file}" if cgroup else "/proc/vmstat")
        self._fd = _opened(path)  # kept: somebody waits for a restart when it is read
        self._ledger = ledger
        self._accounted = _count(self._fd)  # at least

    def begin(self) -> None:
        """Account for all that was before: root does, before the first process may be killed.

        And again when the ledger was removed.
        """
        self._accounted = _count(self._fd)
        fd = os.open(self._ledger, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, self._accounted)
        finally:
            os.close(fd)

    def may_be_of(self, pid: int | None) -> bool:
        """Whether there is a kill that `claim` may find to be that of this process."""
        confined = self._confined(pid)
        if confined is None:
            return _count(self._fd) > self._accounted
        killed = _count(confined) > 0
        os.close(confined)
        return killed

    def claim(self, pid: int | None) -> bool:
        """Whether a process that was killed was killed for want of memory.

        An OOM kill that is not of a confined worker is claimed by whoever asks first.
        """
        confined = self._confined(pid)
        count = _count(self._fd)
        if confined is None:
            return count > self._accounted and self._enter(count)
        killed = _count(confined) > 0
        os.close(confined)
        if killed and self._file == EVENTS:  # of version 2: counted in ours, too
            self._enter(count)
        return killed

    def _confined(self, pid: int | None) -> int | None:
        own = confinement(pid) if pid is not None else None
        return _opened(f"{own}/{self._file}") if own else None

    def _enter(self, count: int) -> bool:
        """Account for one of so many kills; False if others have accounted for them all."""
        try:
            ledger = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError:  # nobody has begun one, or there is no descriptor: then nothing is known
            return False
        try:
            self._accounted = os.fstat(ledger).st_size
            if count <= self._accounted:
                return False
            os.write(ledger, b"\n")
            self._accounted = os.lseek(ledger, 0, os.SEEK_CUR)
            return self._accounted <= count  # or another was faster
        except OSError:
            return False
        finally:
            os.close(ledger)


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _count(fd: int | None) -> int:
    """Return the count in a file; 0 if there is none."""
    try:
        found = _COUNT.search(os.pread(fd, MAX_BYTES, 0)) if fd is not None else None
    except OSError:  # its control group is gone
        return 0
    return int(found[1]) if found else 0
