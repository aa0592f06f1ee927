"""Why nothing can be written, in words: the kernel calls a want of inodes a want of space."""

import errno
import os

NO_INODES = "no inodes are left on this file system: too many files, not too large ones"


def reason(error: OSError, place: str) -> str:
    """Say why a file could not be made or written.

    Args:
        error: what the kernel said.
        place: a path on the file system that is meant; it need not exist.

    """
    if error.errno == errno.ENOSPC and _has_no_inodes(place):
        return NO_INODES
    return error.strerror or str(error)


def explained(error: Exception, place: str) -> str:
    """Say all that is known of an error, a database's too, and whether inodes are missing there."""
    return f"{error}: {NO_INODES}" if _has_no_inodes(place) else str(error)


def _has_no_inodes(path: str) -> bool:
    path = os.path.abspath(path)
    while True:
        try:
            found = os.statvfs(path)
        except FileNotFoundError:
            path = os.path.dirname(path)
            continue
        except OSError:
            return False
        return found.f_files > 0 and found.f_favail == 0
