"""When the pump waits a moment before it looks, so that it moves few large pieces. Pure.

A writer with a system call for each line is fastest while nobody takes the lines away at the same
time: else the two meet at the pipe's lock, and the pump wakes for every few lines. So while lines
come close upon each other the pump naps, as long as no pipe can be full before it is back.
"""

import math

#: Seconds of a nap: what a line has to wait at most.
NAP = 0.001
#: Seconds between two pieces that are close upon each other.
CLOSE = 0.003
#: The part of a pipe that may fill up during a nap. Not all of it: a page of a pipe that small
#: writes went to is not full, and the next moment may bring more than the last.
FILLED = 0.4


class Pace:
    """Decides on naps. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._at = 0.0  # when something was taken last
        self._fullest = 0.0  # of the pipes of this pass: the part of its room that was taken

    def took(self, count: int, room: int, *, behind: bool = False) -> None:
        """Note what one pipe gave in this pass.

        Args:
            count: bytes.
            room: bytes that the pipe holds.
            behind: it has more.

        """
        self._fullest = max(self._fullest, math.inf if behind else count / room)

    def hesitation(self, now: float) -> float:
        """Return the seconds to wait before the first look after a quiet time; else 0.

        What comes first is seldom alone. And it may be the mark of a process that goes on in the
        place of another one: it shall have the processor.
        """
        return NAP if now - self._at >= CLOSE else 0.0

    def nap(self, now: float) -> float:
        """Return the seconds to wait after the pass that began at ``now``; 0: none."""
        fullest, self._fullest = self._fullest, 0.0
        if not fullest:
            return 0.0
        passed, self._at = now - self._at, now
        if passed >= CLOSE or fullest * NAP > passed * FILLED:
            return 0.0
        return NAP
