"""Space kept for a full device: given back so that acknowledgements still find room."""

import errno
import os

#: Bytes; enough for some thousand groups of acknowledgements.
SIZE = 16 << 20
#: What a device without space says, a used up quota, and a limit of file sizes.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Bytes that are written to see whether there is space.
PROBE = 1 << 16


class Ballast:
    """A file that only takes space.

    Args:
        path: where it is.
        size: bytes.

    """

    def __init__(self, path: str, size: int = SIZE) -> None:
        self._path, self._size = path, size

    def take(self) -> bool:
        """Take the space, if it is not taken; False if there is none.

        Half of it is worse than none: it would fill the device for everybody else.

        Raises:
            OSError: not for want of space.

        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            if os.fstat(fd).st_size < self._size:
                os.posix_fallocate(fd, 0, self._size)
        except OSError as error:
            self.give()
            if error.errno in NO_SPACE:
                return False
            raise
        finally:
            os.close(fd)
        return True

    def give(self) -> None:
        """Give the space back."""
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass


def has_no_room(folder: str, offset: int) -> bool:
    """Say whether a file in a folder cannot be written at an offset, and that for want of space."""
    path = os.path.join(folder, "probe")
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
        try:
            return os.pwrite(fd, bytes(PROBE), offset) < PROBE
        finally:
            os.close(fd)
            os.unlink(path)
    except OSError as error:
        return error.errno in NO_SPACE
