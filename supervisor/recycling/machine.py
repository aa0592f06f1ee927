"""How much memory there is: of the machine, or of the cgroup that we are confined to."""

import os
from dataclasses import dataclass
from functools import cache

from supervisor.core.census import LEAST_RESERVE

#: The part of it that an app may use, unless its author says otherwise.
BUDGET_PART = 0.8
#: The part of it that must stay available when a second process is started beside the first.
RESERVE_PART = 0.05
V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
#: What v1 says when there is no limit is about this much.
NO_LIMIT = 1 << 60


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


def total() -> int:
    """Return the bytes of memory that we may use together with all others in our cgroup."""
    return min([_meminfo("MemTotal"), *(limit for limit, _ in _confinements())])


def available() -> int:
    """Return the bytes that can be used without making anybody swap, or die."""
    left = [limit - used for limit, used in _confinements()]
    return max(0, min([_meminfo("MemAvailable"), *left]))


def budget() -> int:
    """Return the automatic budget of an app."""
    return round(BUDGET_PART * total())


def reserve() -> int:
    """Return what must stay available when a replacement starts."""
    return max(LEAST_RESERVE, round(RESERVE_PART * total()))


def pressure() -> Pressure:
    """Return the pressure on the machine's memory; none where the kernel does not say."""
    found = {"some": 0.0, "full": 0.0}
    for line in _lines("/proc/pressure/memory"):
        kind, average, *_ = line.split()
        found[kind] = float(average.partition("=")[2])
    return Pressure(found["some"], found["full"])


@cache
def cgroup() -> tuple[str, bool] | None:
    """Return our memory cgroup's directory, and whether it is of version 2; None: there is none."""
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        if controllers == "memory" and os.path.isdir(V1 + path):
            return V1 + path, False
        if controllers == "" and os.path.exists(f"{V2}{path}/memory.events"):
            return V2 + path, True
    return None


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
    while directory not in (V1, V2, "/"):
        limit, used = _number(f"{directory}/{files.limit}"), _number(f"{directory}/{files.used}")
        if limit is not None and used is not None and limit < NO_LIMIT:
            limits.append((limit, used - _field(f"{directory}/memory.stat", files.reclaimable)))
        directory = os.path.dirname(directory)
    return limits


def _number(path: str) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _field(path: str, name: str) -> int:
    """Return the number behind a word in a file; 0 where it does not say."""
    for line in _lines(path):
        word, _, number = line.partition(" ")
        if word == name:
            return int(number)
    return 0


def _meminfo(name: str) -> int:
    for line in _lines("/proc/meminfo"):
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return NO_LIMIT


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.readlines()
    except OSError:
        return []
