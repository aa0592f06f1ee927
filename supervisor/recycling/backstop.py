"""The kernel as a backstop: a memory cgroup for each worker, where we may make one.

A worker that grows faster than anybody looks is killed by the kernel a little above its hard limit,
alone, before it takes the machine with it. Only done where our own cgroup is writable (as root with
cgroups of version 1, or in a delegated subtree of version 2); elsewhere this does nothing.
"""

import errno
import logging
import os

from supervisor.process.oom import confinement
from supervisor.recycling import machine

log = logging.getLogger("supervisor.arbiter")

#: So many times its hard limit a worker may have. Page cache and shared pages count here too.
KERNEL_FACTOR = 1.15
#: Limits above this are none.
UNLIMITED = 1 << 60


def can_confine() -> bool:
    """Whether we may make cgroups at all."""
    cgroup = machine.cgroup()
    return cgroup is not None and os.access(cgroup[0], os.W_OK)


class Backstop:
    """Confines workers, and removes what confined those that are gone."""

    def __init__(self) -> None:
        cgroup = machine.cgroup()
        self._limit_file = "memory.max" if cgroup and cgroup[1] else "memory.limit_in_bytes"
        self._limits: dict[int, int] = {}  # by pid
        self.enabled = can_confine()
        if self.enabled and cgroup is not None:
            _remove_left_behind(cgroup[0])

    def confine(self, hard_limits: dict[int, int]) -> None:
        """Have each of these workers confined, and nobody else any more.

        Args:
            hard_limits: by pid, in bytes.

        """
        for pid in self._limits.keys() - hard_limits.keys():
            self._release(pid)
        for pid, hard in hard_limits.items():
            limit = round(KERNEL_FACTOR * hard)
            if self.enabled and hard < UNLIMITED and self._limits.get(pid) != limit:
                self._confine(pid, limit)

    def close(self) -> None:
        """Remove all that is not needed any more."""
        self.confine({})

    def _confine(self, pid: int, limit: int) -> None:
        directory = confinement(pid)
        assert directory is not None
        is_new = pid not in self._limits
        try:
            if is_new:
                _mkdir(directory)
            _write(f"{directory}/{self._limit_file}", limit)
            if is_new:
                _write(f"{directory}/cgroup.procs", pid)
        except ProcessLookupError:  # it has ended
            _rmdir(directory)
        except OSError as error:
            if is_new and error.errno != errno.EBUSY:  # it has more by now: the arbiter sees that
                _rmdir(directory)
                self.enabled = False  # not ours to use: do not try again for each worker
                log.info("no memory cgroups", extra={"problem": str(error)})
        else:
            self._limits[pid] = limit

    def _release(self, pid: int) -> None:
        directory = confinement(pid)
        if directory is None or _rmdir(directory):
            del self._limits[pid]


def _write(path: str, value: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"%d" % value)
    finally:
        os.close(fd)


def _mkdir(directory: str) -> None:
    """Make a cgroup; the arbiter before may have done so: its workers live on in theirs."""
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        pass


def _rmdir(directory: str) -> bool:
    """Remove a cgroup; False if somebody is in it still."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove_left_behind(parent: str) -> None:
    """Remove what an arbiter that was killed has left; what is in use stays."""
    for name in os.listdir(parent):
        prefix, _, pid = name.partition("-")
        if prefix == "letitcrash" and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            _rmdir(f"{parent}/{name}")
