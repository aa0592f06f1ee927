"""One run of a recycler: in a process of its own, with a deadline, and a report at its end."""

import os
import select
import signal
import time
import traceback
from collections.abc import Callable

import msgspec

from supervisor.errors import summary_of
from supervisor.process.family import die_with

MAX_REPORT = 32 * 1024
MAX_PROBLEM = 2_000


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a run has ended. ``size``, ``files``: what is left, where that is known.

    ``more``: it was enough for once, and there is more to remove.
    """

    removed: int = 0
    removed_bytes: int = 0
    size: int | None = None
    files: int | None = None
    problem: str = ""
    more: bool = False


class Task:
    """A run under way.

    Args:
        work: what to do; it runs in the forked process.
        deadline: seconds until it is killed.

    Raises:
        OSError: there is no process for it.

    """

    def __init__(self, work: Callable[[], Outcome], deadline: float) -> None:
        self._read, write = os.pipe2(os.O_CLOEXEC)
        self._seconds = deadline
        self._deadline = time.monotonic() + deadline
        self._said = b""
        janitor = os.getpid()
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _live(work, write, janitor)
        except OSError:
            os.close(self._read)
            raise
        finally:
            os.close(write)

    def fileno(self) -> int:
        """Readable when it has ended, or says something."""
        return self._read

    @property
    def left(self) -> float:
        """Seconds until its deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def outcome(self) -> Outcome | None:
        """Return how it has ended; None while it goes on. At its deadline it is killed."""
        while select.select([self._read], [], [], 0)[0]:
            more = os.read(self._read, MAX_REPORT)
            if not more:
                return self._ended("")
            self._said += more
        if self.left == 0.0:
            return self.kill(f"killed: it took longer than its deadline of {self._seconds:g} s")
        return None

    def kill(self, why: str) -> Outcome:
        """End it, with all that it has started."""
        return self._ended(why)

    def _ended(self, why: str) -> Outcome:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not made its group yet
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self._read)
        try:
            return msgspec.json.decode(self._said, type=Outcome)
        except msgspec.DecodeError:
            return Outcome(problem=why or f"it died: {os.waitstatus_to_exitcode(status)}")


def _live(work: Callable[[], Outcome], write: int, janitor: int) -> None:
    """Be the forked process."""
    try:
        os.setsid()
        die_with(janitor)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            outcome = work()
        except BaseException as error:  # SystemExit too: the author's
            traceback.print_exc()
            outcome = Outcome(problem=summary_of(error)[:MAX_PROBLEM])
        os.write(write, msgspec.json.encode(outcome)[:MAX_REPORT])
    finally:
        os._exit(1)
