"""The lock of a runtime directory: one root per directory, and who it is.

An open-file-description lock: it is gone when its holder is, however that died, and anybody can
ask who holds it without taking it. (With flock the only way to ask is to try, and such a try made
at the wrong moment turns away a root that is just starting.) Only root ever opens it for writing,
close-on-exec, so no other process inherits it.
"""

import fcntl
import os
import struct

import msgspec

#: struct flock: type, whence, start, length, pid.
_FLOCK = "hhqqi0q"
MAX_BYTES = 4096


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock: the app's name, root's pid, and since when (Unix seconds)."""

    name: str = ""
    pid: int = 0
    started_at: float = 0.0


def acquire(path: str, holder: Holder) -> int | None:
    """Take the lock and write who holds it; return its descriptor, or None if it is held."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
        except (BlockingIOError, PermissionError):
            os.close(fd)
            return None
        if is_at(fd, path):
            break
        os.close(fd)  # removed since it was opened: the next one would lock another file
    os.ftruncate(fd, 0)
    os.pwrite(fd, msgspec.json.encode(holder), 0)
    return fd


def is_at(fd: int, path: str) -> bool:
    """Whether a path leads to an open file, and not to nothing or to a successor of it."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except OSError:
        return False


def holder_of(path: str) -> Holder | None:
    """Say who holds a lock; None if nobody does. Fields are empty while it is being written."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_RDLCK))
        if struct.unpack(_FLOCK, answer)[0] == fcntl.F_UNLCK:
            return None
        return msgspec.json.decode(os.pread(fd, MAX_BYTES, 0), type=Holder)
    except msgspec.DecodeError:
        return Holder()
    except OSError:
        return None
    finally:
        os.close(fd)


def _whole_file(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)
