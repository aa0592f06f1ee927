"""/proc: whether it is there, and whether it shows us all processes; without it much is unseen."""

import os
import re
from collections.abc import Iterable

from supervisor.recycling.machine import lines_of

_STATUS, _MOUNTS = "/proc/self/status", "/proc/self/mountinfo"
_CAP_SYS_PTRACE = 19
#: What shows every process to everybody: the default.
_OFF = {"0", "off"}


def is_there() -> bool:
    """Whether it is mounted, and readable."""
    return bool(lines_of(_STATUS))


def hides() -> str:
    """Return what it hides of others' processes from us, as it is mounted; "": nothing."""
    if _may_look(lines_of(_STATUS)):
        return ""
    return hidden(lines_of(_MOUNTS), {os.getegid(), *os.getgroups()})


def hidden(mounts: Iterable[str], groups: set[int]) -> str:
    """Find it.

    Args:
        mounts: as in /proc/PID/mountinfo.
        groups: that we are in: one, 0 unless another is named, is shown everything.

    """
    found = ""
    for line in mounts:
        before, _, behind = line.partition(" - ")
        if before.split()[4] != "/proc" or not behind.startswith("proc "):
            continue
        options = dict(part.partition("=")[::2] for part in behind.split()[-1].split(","))
        how = options.get("hidepid", "off")
        shown = how in _OFF or int(options.get("gid", 0)) in groups
        found = "" if shown else f"hidepid={how}"  # the last one mounted there is on top
    return found


def _may_look(status: Iterable[str]) -> bool:
    """Whether we have CAP_SYS_PTRACE, for which nothing is hidden."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", "".join(status), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> _CAP_SYS_PTRACE & 1)
