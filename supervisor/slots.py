"""Child slots: what outlives the processes that fill them, one after the other.

A slot owns the two pipes that its processes write to. Both ends stay open here as long as the
slot exists, so that neither a dead worker nor a dead log pump loses a line; the read ends go (as
duplicates) to the pump, by way of root.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.core import flapping
from supervisor.observe.snapshot import LastExit

#: Called with (slot path, "stdout" or "stderr", a duplicate of the read end, which it takes over).
PipeSink = Callable[[str, str, int], None]


@dataclass(slots=True)
class Slot:
    """One slot: its pipes, and what is remembered of the processes that were in it."""

    path: str
    stdout: tuple[int, int]  # read end, write end
    stderr: tuple[int, int]
    starts: int = 0
    restarts: int = 0
    unplanned: bool = False  # whether the last process ended without having been asked to
    counted: bool = False  # whether its last start used a token of the budget
    last_exit: LastExit | None = None
    score: float = 0.0  # of its failures (`core.flapping`), when the last of them was restarted
    scored_at: float = 0.0  # monotonic seconds

    def begin_life(self, now: float) -> None:
        """A process is to be started in it; ``now``: monotonic seconds."""
        self.starts += 1
        if self.unplanned:
            self.restarts += 1
            self.score = flapping.failed(self.score, now - self.scored_at)
            self.scored_at = now
            self.unplanned = False

    def score_at(self, now: float) -> float:
        """Return the score that is left."""
        return round(flapping.decayed(self.score, now - self.scored_at), 3)

    def close(self) -> None:
        """The slot is no more."""
        for fd in (*self.stdout, *self.stderr):
            os.close(fd)


def open_slot(path: str, sink: PipeSink | None) -> Slot:
    """Make a slot and hand its pipes to the log pump. With no sink, output goes to our own stderr.

    Raises:
        OSError: no descriptors are left.

    """
    if sink is None:
        return Slot(path, _inherited(1), _inherited(2))
    slot = Slot(path, _pipe(), _pipe())
    sink(path, "stdout", os.dup(slot.stdout[0]))
    sink(path, "stderr", os.dup(slot.stderr[0]))
    return slot


def _pipe() -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read, False)  # the pump reads; the write end blocks, that is the back pressure
    return read, write


def _inherited(fd: int) -> tuple[int, int]:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), os.dup(fd)
