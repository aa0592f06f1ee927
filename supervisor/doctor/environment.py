"""The machine: what of it the runtime needs, and what it makes use of where it is there."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from supervisor.janitor.leftovers import core_name, kernel_pattern
from supervisor.process import sample
from supervisor.recycling import machine
from supervisor.recycling.backstop import can_confine

#: Descriptors that an app of a few dozen workers needs.
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
    yield _finding("pidfd", _pidfd, "Linux 5.3 or later is needed")
    yield _finding(
        "private memory", lambda: sample.private_bytes("self") is not None,
        "no /proc/PID/smaps_rollup: memory is judged by resident bytes, which count shared pages",
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


def _finding(name: str, works: Callable[[], bool], means: str) -> Finding:
    return Finding(name, "ok", "works") if works() else Finding(name, "fail", "missing", means)


def _warning(
    name: str, works: Callable[[], bool], means: str, detail: Callable[[], object] = lambda: ""
) -> Finding:
    if works():
        found = detail()
        return Finding(name, "ok", str(found[0]) if isinstance(found, tuple) else "works")
    return Finding(name, "warn", "missing", means)


def _memory() -> Finding:
    total, left, reserve = machine.total(), machine.available(), machine.reserve()
    found = f"{left / GIB:.1f} of {total / GIB:.1f} GiB available"
    if left > 2 * reserve:
        return Finding("memory", "ok", found)
    return Finding("memory", "warn", found, "too little left to start replacements first")


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} (at most {hard})"
    if soft >= WANTED_FILES:
        return Finding("open files", "ok", found)
    means = f"each slot takes 6: more than {soft // 8} workers need `ulimit -n` raised"
    return Finding("open files", "warn", found, means)


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
