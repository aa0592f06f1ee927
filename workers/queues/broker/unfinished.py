"""Frames that were begun and do not go on: who is silent in the middle of one is closed.

A producer loses nothing by that, not even one that was stopped (SIGSTOP): what was not confirmed it
sends again, by another connection, and what of it is in the queue is known. Not so a consumer: half
of an acknowledgement may wait in one that is well while its handler works, and the message would
be charged with an end that is none. What such a one has comes back when its lease is over.
"""

import math
from collections import OrderedDict

#: Seconds without a byte.
SILENCE = 30.0


class Unfinished:
    """Connections in the middle of a frame. Times are by the monotonic clock.

    ``due``: when `overdue` has something to do, or nothing any more; inf: never.
    """

    def __init__(self) -> None:
        self.since: OrderedDict[int, float] = OrderedDict()  # by number; the longest silent first
        self.due = math.inf

    def heard(self, number: int, now: float) -> None:
        """Something has come, and is not the end of a frame."""
        self.since[number] = now
        self.since.move_to_end(number)
        if self.due == math.inf:  # it is moved when it has come: not with each word
            self.due = now + SILENCE

    def ended(self, number: int) -> None:
        """It is in the middle of none any more, is not listened to, or is gone."""
        self.since.pop(number, None)

    def overdue(self, now: float) -> list[int]:
        """Return who has been silent for too long."""
        found = [number for number, since in self.since.items() if since + SILENCE <= now]
        for number in found:
            del self.since[number]
        self.due = next(iter(self.since.values()), math.inf) + SILENCE
        return found
