"""What the operator has said of each queue, kept where it outlives the broker: a byte each.

Root holds the memory for as long as the app runs. A kill cuts no write of one byte in two.
"""

import os
from enum import IntFlag

from workers.queues.core.queue import QueueCore


class Said(IntFlag):
    """What holds of a queue until it is said otherwise."""

    PAUSED = 1
    CLOSED = 2
    HELD = 4


class Standing:
    """The standing commands of all queues, each by its place among them.

    Args:
        fd: the memory; None: nothing is kept.

    """

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd

    def restore(self, place: int, core: QueueCore) -> None:
        """Have a queue do what was said of it to the broker before."""
        found = b"" if self._fd is None else os.pread(self._fd, 1, place)
        said = Said(found[0]) if found else Said(0)
        core.delivery.paused = Said.PAUSED in said
        core.intake.closed, core.intake.held = Said.CLOSED in said, Said.HELD in said

    def keep(self, place: int, core: QueueCore) -> None:
        """Remember what was said of a queue."""
        if self._fd is None:
            return
        paused = Said.PAUSED * core.delivery.paused
        closed, held = Said.CLOSED * core.intake.closed, Said.HELD * core.intake.held
        os.pwrite(self._fd, bytes([paused | closed | held]), place)
