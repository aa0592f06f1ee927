"""Being told when what is in a directory is removed, or the directory itself (inotify)."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
#: sys/inotify.h. A file that another is renamed over is not deleted: such writers wake nobody.
_DELETE, _DELETE_SELF, _MOVE_SELF, _ONLYDIR = 0x200, 0x400, 0x800, 0x0100_0000
_MASK = _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
#: Bytes of events read at once; one takes at most 16 and a name of 256. What is left wakes again.
READ_BYTES = 64 * 1024


class Removals:
    """Tells by its descriptor.

    Raises:
        OSError: the kernel has no more of them for this user.

    """

    def __init__(self) -> None:
        self._fd = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._watched: dict[str, int] = {}

    def fileno(self) -> int:
        """Return the descriptor, ready when something was removed."""
        return self._fd

    def watch(self, directory: str) -> None:
        """Watch the directory that is at this path now, and no other that was there before.

        Raises:
            OSError: there is none, or no more can be watched.

        """
        number = _LIBC.inotify_add_watch(self._fd, os.fsencode(directory), _MASK)
        _checked(number, directory)
        before = self._watched.get(directory, number)
        self._watched[directory] = number
        if before != number:  # that one was moved away, or is gone and with it the watch
            _LIBC.inotify_rm_watch(self._fd, before)

    def forget(self) -> None:
        """Take note of what was told; what it was has to be looked up."""
        try:
            os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result
