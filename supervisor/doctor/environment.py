"""The machine: what of it the runtime needs, and what it makes use of where it is there."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from supervisor.descriptors import BASE, PER_SLOT
from supervisor.doctor import proc
from supervisor.janitor.leftovers import core_name, kernel_pattern
from supervisor.process import sample
from supervisor.recycling import machine
from supervisor.recycling.backstop import can_confine

#: Descriptors that an app of a hundred workers needs.
WANTED_FILES = 1024
#: Free memory below which replacements cannot start first.
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. ``word``: ok, warn or fail; ``means``: what does not work, or works otherwise."""

    name: str
    word: str
    found: str
    means: str = ""


def examine() -> list[Finding]:
    """Check them all."""
    return [*_checks()]


def _checks() -> Iterator[Finding]:
    yield Finding("python", "ok", sys.version.split()[0])
    yield _warning(
        "pidfd", _pidfd,
        "no pidfd_open (Linux 5.3): `supervisor stop` of a whole app, `check`, the compression of "
        "logs and the rounding up of fork bombs do not work",
    )  # fmt: skip
    yield _warning(
        "proc", proc.is_there,
        "memory, descriptors and threads are not known (null in health), nobody is recycled for "
        "them; what has left its worker (a daemon) is not found: it outlives the app",
    )  # fmt: skip
    yield from _hidden_proc()
    yield _warning(
        "private memory", lambda: sample.private_bytes("self") is not None,
        "no /proc/PID/smaps_rollup: memory is judged by resident bytes, which count shared pages"
        if proc.is_there() else "no /proc: not known",
    )  # fmt: skip
    yield _warning(
        "memory cgroup", can_confine,
        "no writable cgroup: no kernel limit behind memory_hard", machine.cgroup,
    )  # fmt: skip
    yield _warning(
        "memory pressure", lambda: any(map(os.path.exists, machine.pressure_files())),
        "no PSI: recycling cannot see that the machine is short of memory",
    )  # fmt: skip
    yield _memory()
    yield _files()
    yield _core_files()


def _pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return True


def _hidden_proc() -> Iterator[Finding]:
    if how := proc.hides():
        means = (
            "no CAP_SYS_PTRACE to see processes of others: of workers with user= memory, "
            "descriptors and threads are not known, and what has left them (a daemon) is found "
            "only with CAP_SYS_RESOURCE"
        )
        yield Finding("hidden proc", "warn", how, means)


def _warning(
    name: str, works: Callable[[], bool], means: str, detail: Callable[[], object] = lambda: ""
) -> Finding:
    if works():
        found = detail()
        return Finding(name, "ok", str(found[0]) if isinstance(found, tuple) else "works")
    return Finding(name, "warn", "missing", means)


def _memory() -> Finding:
    total, left, reserve = machine.total(), machine.available(), machine.reserve()
    if total is None or left is None:
        means = "no /proc/meminfo: there is no budget, and nobody sees that memory is short"
        return Finding("memory", "warn", "not known", means)
    found = f"{left / GIB:.1f} of {total / GIB:.1f} GiB available"
    if left > 2 * reserve:
        return Finding("memory", "ok", found)
    return Finding("memory", "warn", found, "too little left to start replacements first")


def _files() -> Finding:
    """Judge the hard limit: an app raises its soft one as far as that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= WANTED_FILES:
        return Finding("open files", "ok", "no limit" if hard < 0 else f"at most {hard}")
    most = (hard - BASE) // PER_SLOT
    if most < 1:
        means = f"an app of one worker needs {BASE + PER_SLOT}: raise it with `ulimit -Hn`"
        return Finding("open files", "fail", f"at most {hard}", means)
    means = (
        f"each slot takes {PER_SLOT}: a supervisor of more than {most} needs `ulimit -Hn` raised"
    )
    return Finding("open files", "warn", f"at most {hard}", means)


def _core_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    pattern, _ = kernel_pattern()
    if soft == 0:
        return Finding("core files", "ok", "off")
    if pattern.startswith("|"):  # how many it keeps is its own affair (coredumpctl)
        return Finding("core files", "ok", f"taken by {pattern[1:].split(' ')[0]}")
    if core_name(*kernel_pattern()) is not None:
        return Finding("core files", "ok", "where a worker runs: the janitor keeps the newest")
    means = "a crash loop fills the disk: ulimit -c 0, or a Recycler on their directory"
    return Finding("core files", "warn", f"written as {pattern!r}, of any number", means)
