"""Where a process that hangs, or faults, writes the stacks of its threads: a memfd of ours."""

import logging
import os
from collections.abc import Callable

#: Bytes of stacks that are kept.
MAX_STACKS = 64 * 1024


def make() -> int:
    """Make one; raises OSError if there is no descriptor."""
    return os.memfd_create("stacks", os.MFD_CLOEXEC)


def take(fd: int) -> str:
    """Return what was written into one, and close it."""
    try:
        return os.pread(fd, MAX_STACKS, 0).decode("utf-8", "replace")
    finally:
        os.close(fd)


def report(fd: int, log: Callable[..., None], **who: object) -> str:
    """Log what was written into one, if anything was, and return it; -1: there is none."""
    written = take(fd) if fd >= 0 else ""
    if written:
        event = "stacks of a process that hung or was killed by a fault"
        log(logging.WARNING, event, **who, stacks=written)
    return written
