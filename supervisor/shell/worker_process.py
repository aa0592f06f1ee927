"""A process of the author's as its supervisor sees it: what only such a process is told."""

from typing import Any

from msgspec.structs import replace

from supervisor.caches import Caches, bounded
from supervisor.link import Ready
from supervisor.logs.setup import LEVEL_SIGNALS
from supervisor.memory import TrimRequest
from supervisor.shell.child_process import ChildProcess, Phase


class WorkerProcess(ChildProcess):
    """One process of a worker, or of a command."""

    def begin(self) -> None:
        """Ask for the process. Beside a predecessor, which may be in a line, it leaves no mark."""
        self._marks = self.shell.marks and len(self.slot.occupants) == 1
        super().begin()

    def stop(self) -> None:
        """Ask it to end; then a successor, if it has one, is seen in its place."""
        super().stop()
        self.slot.show()

    def handle(self, message: Any) -> None:
        """Act on one message from its link."""
        if isinstance(message, Caches):
            self.status = replace(self.status, caches=bounded(message.caches))
            self.show()
            return
        if isinstance(message, Ready):
            self.status = replace(self.status, screen=message.screen)
        super().handle(message)

    def trim(self) -> None:
        """Ask it to give back memory."""
        self._say(TrimRequest())

    def set_level(self, level: str) -> None:
        """Make a worker log records of this level and above.

        The signal would kill a process that does not expect it: one that has not begun, a command,
        a worker that became another program.
        """
        signum = LEVEL_SIGNALS[level.lower()]
        pid = self.status.pid
        if self.phase is Phase.READY and pid is not None and catches(pid, signum):
            self._template.signal(self._serial, signum)


def catches(pid: int, signum: int) -> bool:
    """Whether a process has a handler for a signal."""
    try:
        with open(f"/proc/{pid}/status") as status:
            caught = next(line for line in status if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(int(caught.split()[1], 16) >> (signum - 1) & 1)
