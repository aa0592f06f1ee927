"""What one process has: private memory, descriptors, threads. Read from /proc.

Private bytes are what would be free without the process. Resident bytes are no measure: a worker
forked from a template shares the template's pages, and so would be recycled for what it never had.

Reading them exactly walks the whole address space (1 ms for 150 MiB, and the process cannot map
memory meanwhile); `screen` costs 10 us, and moves by as much as private memory does, but for pages
that a worker inherited and writes to.
"""

import os
import time
from dataclasses import dataclass

from supervisor.memory import screen_of

_PRIVATE = (b"Private_Clean:", b"Private_Dirty:", b"Private_Hugetlb:", b"SwapPss:")
_ANONYMOUS = (b"RssAnon:", b"VmSwap:")
_CPUCLOCK_SCHED = 2


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the kernel says of a process at little cost.

    ``screen``: resident bytes that are not of files or shared memory. ``started``: clock ticks
    since boot, which tell a process from a later one of the same number.
    """

    screen: int
    threads: int
    started: int


def private_bytes(pid: int | str) -> int | None:
    """Return what a process has for itself alone; None if it is gone, or not ours to see."""
    text = _read(f"/proc/{pid}/smaps_rollup")
    if text is None:
        return None
    kib = 0
    for line in text.splitlines():
        if line.startswith(_PRIVATE):
            kib += int(line.split()[1])
    return kib * 1024


def own_bytes(pid: int) -> int | None:
    """Return the anonymous memory of a process, shared with forks or not; None if it is gone."""
    text = _read(f"/proc/{pid}/status") or b""
    kib = [int(line.split()[1]) for line in text.splitlines() if line.startswith(_ANONYMOUS)]
    return sum(kib) * 1024 if kib else None


def vitals(pid: int) -> Vitals | None:
    """Return what is cheap to know; None if the process is gone (a zombie is)."""
    statm = _read(f"/proc/{pid}/statm")
    stat = _read(f"/proc/{pid}/stat")
    if not statm or not stat:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name may hold anything
    if fields[0] in (b"Z", b"X"):
        return None
    return Vitals(screen_of(statm), int(fields[17]), int(fields[19]))


def ran_ns(pid: int) -> int | None:
    """Return for how long a process has run, in all its threads; None if it is gone."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)  # clock_getcpuclockid(3)
    except OSError:
        return None


def descriptors(pid: int) -> int | None:
    """Count the open descriptors of a process; None if that is not ours to see."""
    try:
        # Linux 6.2 and later say it as the size of the directory; before, it is 0.
        return os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def nofile(pid: int) -> int | None:
    """Return how many descriptors a process may have."""
    text = _read(f"/proc/{pid}/limits")
    for line in (text or b"").splitlines():
        if line.startswith(b"Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 16_384)
    except OSError:  # it ended between the two
        return None
    finally:
        os.close(fd)


def children_of(pid: int) -> list[int]:
    """Return the children of a single-threaded process."""
    return [int(word) for word in (_read(f"/proc/{pid}/task/{pid}/children") or b"").split()]
