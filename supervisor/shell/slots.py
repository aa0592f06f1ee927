"""Child slots: what outlives the processes that fill them, one after the other.

A slot owns the two pipes that its processes write to. Both ends stay open here as long as the
slot exists, so that neither a dead worker nor a dead log pump loses a line; the read ends go (as
duplicates) to the pump, by way of root.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from supervisor.core import flapping
from supervisor.observe.snapshot import LastExit, WorkerStatus
from supervisor.shell.capacity import Capacity
from supervisor.shell.frequency import Frequency
from supervisor.shell.left_behind import LeftBehind
from supervisor.shell.spare import Spare
from supervisor.shell.verdict import SHUTDOWN, Ending

#: Called with (slot path, "stdout" or "stderr", a duplicate of the read end, which it takes over).
PipeSink = Callable[[str, str, int], None]


class Occupant(Protocol):
    """A process in a slot."""

    ending: Ending

    def show(self) -> None:
        """Put its state on the status board, if it is the one that is shown for the slot."""


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
    heir: Spare | None = None  # that was woken when the last process ended, until somebody takes it
    occupants: list[Occupant] = field(default_factory=list)  # oldest first; two in a recycle
    recycling: bool = False
    after_recycle: list[Callable[[], None]] = field(default_factory=list)  # who waits for its end
    recycles: int = 0
    capacity: Capacity = field(default_factory=Capacity)
    frequency: Frequency = field(default_factory=Frequency)  # of its crashes
    left_behind: LeftBehind = field(default_factory=LeftBehind)

    def begin_life(self, now: float) -> None:
        """A process is to be started in it; ``now``: monotonic seconds."""
        self.starts += 1
        if self.unplanned:
            self.restarts += 1
            self.score = flapping.failed(self.score, now - self.scored_at)
            self.scored_at = now
            self.unplanned = False

    def status_of_start(self, number: int) -> WorkerStatus:
        """Return the first state of a process that is being started. ``number``: the slot's."""
        return WorkerStatus(
            path=self.path,
            slot=number,
            state="starting",
            generation=self.starts,
            started_at=time.time(),
            failure_score=self.score_at(time.monotonic()),
        )

    def score_at(self, now: float) -> float:
        """Return the score that is left."""
        return round(flapping.decayed(self.score, now - self.scored_at), 3)

    def shows(self, occupant: Occupant) -> bool:
        """Whether this is the one to be shown: of two, the one that is not on its way out."""
        if not self.occupants:
            return True
        staying = [one for one in self.occupants if not one.ending.stop_requested]
        return (staying or self.occupants)[0] is occupant

    def leave(self, occupant: Occupant) -> bool:
        """A process has ended; returns whether it was the last. Another one is shown now."""
        if occupant in self.occupants:
            self.occupants.remove(occupant)
        self.show()
        return not self.occupants

    def show(self) -> None:
        """Have the state of the slot shown anew: that of a successor, once it has taken over."""
        for one in self.occupants:
            one.show()

    def stamped(self, status: WorkerStatus, ending: Ending) -> WorkerStatus:
        """Add to a process's state what is the slot's own."""
        wanted = not ending.stop_requested or ending.stop_cause != SHUTDOWN
        self.capacity.update(status.state == "ready", wanted, time.monotonic(), time.time())
        return msgspec.structs.replace(
            status,
            restarts=self.restarts,
            last_exit=self.last_exit,
            recycling=self.recycling,
            recycles=self.recycles,
            capacity_lost=self.capacity.lost,
            capacity_lost_since=self.capacity.lost_since,
            left_behind=self.left_behind.pids,
        )

    def close(self) -> None:
        """The slot is no more."""
        self.left_behind.clear()
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
