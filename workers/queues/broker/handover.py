"""Giving way to whom a message was sent, where nobody else needs the processor.

A message that is alone is at its consumer in little more than half the time if the consumer can go
on where the broker is, at once: another processor would have to be woken, and this one is held
while the broker still does its books. But on a machine with other work to do that is what comes
next, for milliseconds. So after a step aside that took long there is none for a while: what comes
within a few milliseconds of a second may be later for it.
"""

import os
import time

#: Seconds that a step aside may take: the consumer takes the message, and maybe handles it.
SHORT = 0.0003
#: Seconds without another one after one that took longer.
REST = 1.0


class Handover:
    """Steps aside, or does not, by what the last time has cost."""

    def __init__(self) -> None:
        self._not_before = 0.0

    def give_way(self) -> None:
        """Let whoever waits for this processor run first, unless that has taken long lately."""
        began = time.monotonic()
        if began < self._not_before:
            return
        os.sched_yield()
        ended = time.monotonic()
        if ended - began > SHORT:
            self._not_before = ended + REST
