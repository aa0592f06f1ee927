"""How much the pipes hold. A pipe that is found half full is given more room, step by step.

An ordinary user has 64 MiB for all of his pipes (pipe-user-pages-soft), and once he is over that
every new one of his holds 8 KiB: so only a few become as wide as pipes can be.
"""

import fcntl

from supervisor.logs.peek import widen

#: Bytes that any pipe may be widened to, and bytes that some of them may.
WIDE, WIDEST = 256 * 1024, 1 << 20
#: How many pipes those are.
SOME = 32


class Room:
    """The room of one pump's pipes."""

    def __init__(self) -> None:
        self._widest = 0

    def look(self, fd: int) -> int:
        """Return the bytes that a new pipe holds."""
        room = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
        self._widest += room >= WIDEST
        return room

    def widen(self, fd: int, room: int) -> int:
        """Give a pipe the next step, if it may have it; returns the bytes that it holds now."""
        wanted = WIDE if room < WIDE else WIDEST
        if room >= wanted or (wanted == WIDEST and self._widest >= SOME) or not widen(fd, wanted):
            return room
        self._widest += wanted == WIDEST
        return wanted

    def forget(self, room: int) -> None:
        """Forget a pipe that held so many bytes."""
        self._widest -= room >= WIDEST
