"""The lock of a queue's folder: one broker keeps it at a time.

An open-file-description lock: it is gone when its holder is, however that died. Its descriptor is
close-on-exec, and a broker starts no process, so nobody else ever holds it.
"""

import fcntl
import os
import struct

from workers.queues.store.contract import StoreLocked
from workers.queues.store.sqlite import schema

#: struct flock: type, whence, start, length, pid.
_FLOCK = "hhqqi0q"


def lock_folder(folder: str) -> int:
    """Make a queue's folder, if need be, and take its lock; return its descriptor.

    Raises:
        StoreLocked: another process holds it.

    """
    try:
        os.mkdir(folder, 0o700)
        schema.sync_path(os.path.dirname(folder) or ".")
    except FileExistsError:
        pass
    lock = acquire(os.path.join(folder, "lock"))
    if lock is None:
        raise StoreLocked(f"another process keeps {folder}")
    return lock


def acquire(path: str) -> int | None:
    """Take the lock; return its descriptor, or None if another process holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    whole_file = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, whole_file)
    except (BlockingIOError, PermissionError):
        os.close(fd)
        return None
    return fd
