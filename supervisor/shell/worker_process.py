"""A process of the author's as its supervisor sees it: what only such a process is told."""

import errno
import time
from typing import Any, NamedTuple

from msgspec.structs import replace

from supervisor.caches import Caches, bounded
from supervisor.core.events import Exited
from supervisor.link import Assign, Ready
from supervisor.logs.setup import LEVEL_SIGNALS
from supervisor.memory import TrimRequest
from supervisor.process import messages
from supervisor.shell.child_process import ChildProcess
from supervisor.shell.phase import Phase
from supervisor.shell.spare import Identity
from supervisor.shell.templates import Template
from supervisor.shell.verdict import likely
from supervisor.shell.worker_kind import is_succeeded


class Legacy(NamedTuple):
    """What an heir has of a worker: see `supervisor.shell.heirs`."""

    serial: int
    identity: Identity  # of who follows it
    end: Exited  # that it will most likely have


class WorkerProcess(ChildProcess):
    """One process of a worker, or of a command."""

    def begin(self) -> None:
        """Ask for the process. Beside a predecessor, which may be in a line, it leaves no mark."""
        self._marks = self.shell.marks and len(self.slot.occupants) == 1
        super().begin()

    def exited(self, message: messages.Exited) -> None:
        """It has ended; an heir may run in its slot by now."""
        if message.heir:
            self.slot.heir = self._template.spare(message.heir)
        super().exited(message)

    def _take_spare(self, kind: bytes, who: Assign, fds: tuple[int, ...]) -> bool:
        """Become the heir that runs already, or another spare; False if there is none.

        Raises:
            BlockingIOError: an heir that is not this one is still being ended.

        """
        heir = self.slot.heir
        if heir is not None and not heir.gone and not heir.runs_as(kind, (who, fds)):
            raise BlockingIOError(errno.EAGAIN, "an heir that is not wanted is being ended")
        self.slot.heir = None
        return super()._take_spare(kind, who, fds)

    @property
    def _is_succeeded(self) -> bool:
        return self.phase is Phase.READY and is_succeeded(self.start.definition, self.ending)

    def link_closed(self) -> None:
        """It is dying, it seems: while the template reaps it, do what a restart will wait for."""
        if self._is_succeeded and not self._template.spares.inherits(self._serial):
            self._template.spares.hurry(self._kind_sent)
            self._mailbox.foresee(self._exited(likely(self.ending)))
            if not self.shell.oom_kills.may_be_of(self.status.pid):
                self.ending.not_oom_at = time.monotonic()
        super().link_closed()

    def legacy(self, kind: bytes, template: Template) -> Legacy | None:
        """Return what an heir of that kind, from that template, would have of it, if anything."""
        fits = self._template is template and self._kind_sent == kind
        if not (fits and self._is_succeeded and len(self.slot.occupants) == 1):
            return None
        identity = self._identity(self.slot.starts + 1, marks=self.shell.marks)
        return Legacy(self._serial, identity, self._exited(likely(self.ending)))

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
