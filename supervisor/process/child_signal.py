"""SIGCHLD as something to read: a template's way to hear of its children.

Not through a handler: it would interrupt the wait, write to a pipe, and have the wait begun again
only to read that: five system calls and 60 µs, while somebody waits for a restart.
"""

import ctypes
import os
import signal

_LIBC = ctypes.CDLL(None, use_errno=True)
#: Bytes of a sigset_t, and of what is read for one signal.
_SET_BYTES, _INFO_BYTES = 128, 128
_CHILD = {signal.SIGCHLD}


class ChildSignal:
    """A descriptor that is readable when a child has ended, stopped or continued.

    Raises:
        OSError: no descriptors are left.

    """

    def __init__(self) -> None:
        mask = (1 << (signal.SIGCHLD - 1)).to_bytes(_SET_BYTES, "little")
        self._fd = _LIBC.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "signalfd")

    def fileno(self) -> int:
        """The descriptor, for the loop."""
        return int(self._fd)

    def hold(self) -> None:
        """Keep the signal for this descriptor, whatever was done to it before."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, _CHILD)

    def release(self) -> None:
        """Let it through again: what is started meanwhile would inherit that it is held."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD)

    def clear(self) -> None:
        """Take what has come."""
        try:
            os.read(self._fd, _INFO_BYTES)  # one is all there can be: they are not counted
        except BlockingIOError:
            pass
