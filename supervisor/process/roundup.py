"""Killing what forks faster than it can be killed one by one.

A process that was stopped forks no more, and nobody takes the place of one that was not killed yet.
So all that carry a tag are stopped first, look after look, until there is nobody new; then they are
killed. By pidfd, and the tag is looked at once more behind that: a number may be used again.
"""

import os
import signal
import time
from collections.abc import Callable

from supervisor.process.family import tag_of

#: Seconds that this may take: a template has others to serve. What is left is tried again.
LIMIT = 0.5


def round_up(tag: int) -> int:
    """Kill every process of a tag; return how many there were. Without /proc none is found."""
    return round_up_those(lambda pid: tag_of(pid) == tag)


def round_up_those(wanted: Callable[[int], bool]) -> int:
    """Kill every process that is wanted, by its pid; return how many there were."""
    stopped: set[int] = set()
    deadline = time.monotonic() + LIMIT
    while fresh := {pid for pid in _pids() if wanted(pid)} - stopped:
        for pid in fresh:
            _signal(pid, wanted, signal.SIGSTOP)
        stopped |= fresh
        if time.monotonic() > deadline:
            break
    for pid in stopped:
        _signal(pid, wanted, signal.SIGKILL)
    return len(stopped)


def _pids() -> set[int]:
    try:
        return {int(name) for name in os.listdir("/proc") if name.isdigit()}
    except OSError:
        return set()


def _signal(pid: int, wanted: Callable[[int], bool], signum: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # it has ended, or we have no descriptors: a stranger is not to be hit
        return
    try:
        if wanted(pid):
            signal.pidfd_send_signal(fd, signum)
    except OSError:  # it has ended, or made itself another user's
        pass
    finally:
        os.close(fd)
