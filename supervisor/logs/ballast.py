"""Room on the disk that is held back, so that the last words before it is full can be written."""

import os

from supervisor.logs.directory import remove

NAME = ".ballast"


class Ballast:
    """The file that holds it, in the log directory. ``size``: bytes; 0: it holds nothing."""

    def __init__(self) -> None:
        self.size = 0

    def hold(self, root: int, wanted: int) -> int:
        """Take so many bytes, if the disk has them; returns what it holds now."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(NAME, flags, 0o600, dir_fd=root)
        except OSError:
            return 0
        try:
            os.posix_fallocate(fd, 0, wanted)
            os.ftruncate(fd, wanted)
            self.size = wanted
        except OSError:  # full already
            remove(root, NAME)
        finally:
            os.close(fd)
        return self.size

    def release(self, root: int) -> int:
        """Give it back; returns how many bytes that were."""
        released, self.size = self.size, 0
        if released:
            remove(root, NAME)
        return released
