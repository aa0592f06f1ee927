"""Where a process that hangs, or faults, writes the stacks of its threads: a memfd of ours."""

import os

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
