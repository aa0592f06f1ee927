"""Telling the kernel's out-of-memory kills from other SIGKILLs.

The kernel counts its OOM kills by the memory cgroup of the victim. A process that died of a SIGKILL
which was not ours, when that count has grown by one that is not accounted for yet, was killed for
want of memory. A worker that the arbiter has confined has a cgroup, and so a count, of its own.
"""

import os
import re

from supervisor.recycling import machine

_COUNT = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
MAX_BYTES = 64 * 1024


def confinement(pid: int) -> str | None:
    """Return the directory of the cgroup that confines one worker; it need not exist."""
    cgroup = machine.cgroup()
    return None if cgroup is None else f"{cgroup[0]}/letitcrash-{pid}"


class OomKills:
    """Counts the kernel's OOM kills. Made before the first process that may be killed.

    Args:
        path: where the kernel counts them; found out by itself if left out.

    """

    def __init__(self, path: str | None = None) -> None:
        cgroup = machine.cgroup()
        self._file = "memory.events" if cgroup and cgroup[1] else "memory.oom_control"
        path = path or (f"{cgroup[0]}/{self._file}" if cgroup else "/proc/vmstat")
        self._fd = _opened(path)  # kept: somebody waits for a restart when it is read
        self._accounted = _count(self._fd)

    def claim(self, pid: int | None) -> bool:
        """Whether a process that was killed was killed for want of memory.

        An OOM kill that is not of a confined worker is claimed by whoever asks first.
        """
        own = confinement(pid) if pid is not None else None
        confined = _opened(f"{own}/{self._file}") if own else None
        if confined is not None:
            try:
                return _count(confined) > 0
            finally:
                os.close(confined)
        if _count(self._fd) <= self._accounted:
            return False
        self._accounted += 1
        return True


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
