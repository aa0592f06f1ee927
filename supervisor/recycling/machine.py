"""How much memory there is: of the machine, or of the cgroup that we are confined to."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from supervisor.core.census import LEAST_RESERVE

#: The part of it that an app may use, unless its author says otherwise.
BUDGET_PART = 0.8
#: The part of it that must stay available when a second process is started beside the first.
RESERVE_PART = 0.05
#: Where the kernel says how much of the time tasks of the whole machine have waited for memory.
PRESSURE = "/proc/pressure/memory"
#: What v1 says when there is no limit is about this much.
NO_LIMIT = 1 << 60
_MEMORY = "/proc/meminfo"


@dataclass(frozen=True, slots=True)
class _Files:
    """What a cgroup's files are called; ``reclaimable``: a word in its memory.stat."""

    limit: str
    used: str
    reclaimable: str


V1_FILES = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2_FILES = _Files("memory.max", "memory.current", "inactive_file")


@dataclass(frozen=True, slots=True)
class Pressure:
    """Percent of the last 10 s in which some, or all, tasks waited for memory (PSI)."""

    some: float = 0.0
    full: float = 0.0


def total() -> int | None:
    """Return the bytes of memory that we may use together with all others in our cgroup.

    None where nothing says so: without /proc.
    """
    return _least([_meminfo("MemTotal"), *(limit for limit, _ in _confinements())])


def available() -> int | None:
    """Return the bytes that can be used without making anybody swap, or die; None: not known."""
    left = [limit - used for limit, used in _confinements()]
    found = _least([_meminfo("MemAvailable"), *left])
    return None if found is None else max(0, found)


def _least(sizes: Iterable[int | None]) -> int | None:
    return min((size for size in sizes if size is not None), default=None)


def budget() -> int | None:
    """Return the automatic budget of an app; None where it is not known how much there is."""
    found = total()
    return None if found is None else round(BUDGET_PART * found)


def reserve() -> int:
    """Return what must stay available when a replacement starts."""
    return max(LEAST_RESERVE, round(RESERVE_PART * (total() or 0)))


def pressure() -> Pressure | None:
    """Return the pressure on memory, of the machine or, if that is more, of our cgroup.

    None where the kernel does not say.
    """
    found: dict[str, float] = {}
    for file in pressure_files():
        for line in lines_of(file):
            kind, average, *_ = line.split()
            found[kind] = max(found.get(kind, 0.0), float(average.partition("=")[2]))
    return Pressure(found.get("some", 0.0), found.get("full", 0.0)) if found else None


def pressure_files() -> list[str]:
    """Return where the kernel may say what the pressure is; of cgroups, only in version 2."""
    own = cgroup()
    return [PRESSURE, *([f"{own[0]}/memory.pressure"] if own and own[1] else [])]


@cache
def cgroup() -> tuple[str, bool] | None:
    """Return our memory cgroup's directory, and whether it is of version 2; None: there is none."""
    return cgroup_of(lines_of("/proc/self/cgroup"), lines_of("/proc/self/mountinfo"))


def cgroup_of(memberships: Iterable[str], mounts: Iterable[str]) -> tuple[str, bool] | None:
    """Find it.

    In a container only a part of the hierarchy may be mounted, while we are told of our place in
    the whole of it: without a cgroup namespace.

    Args:
        memberships: as in /proc/PID/cgroup.
        mounts: as in /proc/PID/mountinfo.

    """
    mounted = {is_v2: (part, place) for part, place, is_v2 in map(_mounted, mounts) if place}
    for line in memberships:
        _, controllers, path = line.strip().split(":", 2)
        is_v2 = controllers == ""
        if not (is_v2 or "memory" in controllers.split(",")) or is_v2 not in mounted:
            continue
        part, place = mounted[is_v2]
        below = os.path.relpath(path, part)
        directory = os.path.normpath(os.path.join(place, below))
        is_there = "memory.events" if is_v2 else V1_FILES.limit
        if not below.startswith("..") and os.path.exists(f"{directory}/{is_there}"):
            return directory, is_v2
    return None


def _mounted(line: str) -> tuple[str, str, bool]:
    """Read a line of mountinfo: which part of a memory hierarchy is mounted where; "": of none."""
    before, _, behind = line.partition(" - ")
    part, place = [_unescaped(word) for word in before.split()[3:5]]
    kind, _, options = behind.split(maxsplit=2)
    is_v2 = kind == "cgroup2"
    is_memory = is_v2 or (kind == "cgroup" and "memory" in options.strip().split(","))
    return part, place if is_memory else "", is_v2


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _confinements() -> list[tuple[int, int]]:
    """Return limit and use of our cgroup and of those around it, where there is a limit.

    Pages of files that nobody has used lately are no use: the kernel fills a cgroup with them up to
    its limit, and drops them as soon as memory is wanted.
    """
    found = cgroup()
    if found is None:
        return []
    directory, is_v2 = found
    files = V2_FILES if is_v2 else V1_FILES
    limits = []
    while directory != "/":
        limit, used = _number(f"{directory}/{files.limit}"), _number(f"{directory}/{files.used}")
        if limit is not None and used is not None and limit < NO_LIMIT:
            limits.append((limit, used - _field(f"{directory}/memory.stat", files.reclaimable)))
        directory = "/" if os.path.ismount(directory) else os.path.dirname(directory)
    return limits


def _number(path: str) -> int | None:
    text = "".join(lines_of(path)).strip()
    return int(text) if text.isdigit() else None


def _field(path: str, name: str) -> int:
    """Return the number behind a word in a file; 0 where it does not say."""
    for line in lines_of(path):
        word, _, number = line.partition(" ")
        if word == name:
            return int(number)
    return 0


def _meminfo(name: str) -> int | None:
    for line in lines_of(_MEMORY):
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


def lines_of(path: str) -> list[str]:
    """Return the lines of a file of the kernel's; none where it cannot be read."""
    try:
        with open(path) as file:
            return file.readlines()
    except OSError:
        return []
