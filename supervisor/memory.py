"""What a process has, and giving it back: the gentle step before it is recycled for that.

Caches and pools register what they can do without; `trim` has them do it, collects garbage, and
returns freed heap to the kernel. It runs between two messages, never within one.
"""

import os
from collections.abc import Callable

import msgspec

Hook = Callable[[], None]
#: Lines of the author's that are told when allocations are traced.
ALLOCATIONS = 10
_PAGE = os.sysconf("SC_PAGESIZE")
_hooks: list[Hook] = []


def screen_bytes() -> int:
    """Return what this process has resident that is not of files; 0 if that is not to be known."""
    try:
        fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    statm = os.read(fd, 200)
    os.close(fd)
    return screen_of(statm)


def screen_of(statm: bytes) -> int:
    """Read that out of /proc/PID/statm."""
    _, resident, shared, *_ = statm.split()
    return (int(resident) - int(shared)) * _PAGE


class TrimRequest(msgspec.Struct, frozen=True, tag="trim"):
    """A supervisor's word to a worker: give back what can be done without, between two messages."""


def on_trim(hook: Hook) -> Hook:
    """Have something called when this process is asked to give back memory.

    Args:
        hook: takes nothing; what it raises is reported and otherwise ignored.

    Returns:
        The hook, so that this works as a decorator.

    """
    _hooks.append(hook)
    return hook


def forget(hook: Hook) -> None:
    """Take a hook back. Harmless if it is not there."""
    if hook in _hooks:
        _hooks.remove(hook)


def trim() -> None:
    """Give back what can be given back. Never raises."""
    import gc
    import sys

    for hook in list(_hooks):
        try:
            hook()
        except Exception:  # the author's
            import traceback

            traceback.print_exc(file=sys.stderr)
    gc.collect()
    _release_heap()
    if "tracemalloc" in sys.modules:
        _tell_allocations()


def _tell_allocations() -> None:
    """Log who has allocated most of what is there, if the author traces it."""
    import logging
    import tracemalloc

    if tracemalloc.is_tracing():
        found = tracemalloc.take_snapshot().statistics("lineno")[:ALLOCATIONS]
        top = [f"{one.traceback}: {one.size} bytes in {one.count} blocks" for one in found]
        logging.getLogger("supervisor.memory").warning("allocations", extra={"top": top})


def _release_heap() -> None:
    """Have the C library return what is free in its heaps, those of other threads included.

    A fragmented heap of many threads has held 180 MiB of which 14 were in use (measured).
    """
    import ctypes

    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # not glibc
        pass
