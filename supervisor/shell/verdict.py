"""Why a process ended: from what the kernel, the process and its supervisor know, one verdict.

OTP's classes: an orderly return, or a program's exit status 0, is ``normal``; an end on request,
or by the stop signal while stopping, is ``shutdown``; everything else is abnormal, with a cause.
"""

import math
import os
import signal
from dataclasses import dataclass

from supervisor.core.exits import ExitKind, ExitReason
from supervisor.link import Failed, Finished, Ignored, Suspect
from supervisor.observe.snapshot import LastExit
from supervisor.process.messages import Exited

#: The cause of an end on request.
SHUTDOWN = "shutdown"
#: Seconds from the end of a process's link until its template has told of its end, at most.
AT_ONCE = 0.1
#: The wait status of a process that ends with exit code 1, as after an exception.
EXIT_1 = 1 << 8
#: The cause of a recycle that could not wait.
MEMORY_HARD = "memory_hard"
#: Causes of kills that belong to a stop.
PLANNED_KILLS = frozenset({"brutal_kill", "stop_timeout"})
#: Of a child that declined to start.
IGNORED = ExitReason(ExitKind.NORMAL, "ignore")


@dataclass(slots=True)
class Ending:
    """What is known of how a process is ending, gathered while it does."""

    finished: bool = False  # its target returned or raised SystemExit; so it is for any program
    shutdown: float | None = None  # seconds it has to end in once asked; for its information
    stop_requested: bool = False
    stop_signal: int = signal.SIGTERM
    stop_cause: str = SHUTDOWN  # why it is asked to stop: "recycled", "memory_hard" ...
    kill_cause: str = ""  # why its supervisor killed it: "heartbeat", "start_timeout", ...
    exception: str = ""  # the exception that the process itself reported
    message: str = ""
    traceback: str = ""
    not_oom_at: float = -math.inf  # when (monotonic) it was clear that the kernel had not done it
    out_of_memory: bool = False  # the kernel killed it for want of memory
    suspect: bool = False  # it works on a message that has ended a process before
    ended: ExitReason | None = None  # what a nested supervisor said about its own end
    gave_up: str = ""  # why it gave up, if it did
    exited: Exited | None = None  # what its template said of its end, and of what it has used

    def hear(self, message: object) -> None:
        """Take note of what the process itself says."""
        match message:
            case Failed():
                self.exception, self.message = message.exception, message.message
                self.traceback = message.text
            case Finished():
                self.finished = True
            case Ignored():
                self.ended = IGNORED
            case Suspect(on=on):
                self.suspect = on

    def may_be_oom(self, now: float) -> bool:
        """Whether a SIGKILL that is heard of now may have been for want of memory."""
        return not self.kill_cause and now - self.not_oom_at > AT_ONCE


def verdict(status: int, ending: Ending) -> ExitReason:
    """The exit reason of a process.

    Args:
        status: its wait status (see `os.waitstatus_to_exitcode`).
        ending: what else is known.

    """
    code = os.waitstatus_to_exitcode(status)
    if ending.kill_cause and code == -signal.SIGKILL:
        return ExitReason(ExitKind.KILLED, ending.kill_cause)
    if ending.ended is not None and code >= 0:
        return ending.ended
    if ending.stop_requested and code in (0, -ending.stop_signal):
        return ExitReason(ExitKind.SHUTDOWN, ending.stop_cause)
    if code == -signal.SIGKILL:
        return ExitReason(ExitKind.KILLED, "oom" if ending.out_of_memory else "signal:SIGKILL")
    if code < 0:
        return ExitReason(ExitKind.CRASH, f"signal:{signal_name(-code)}")
    if ending.exception:
        return ExitReason(ExitKind.CRASH, f"exception:{ending.exception}")
    if code == 0 and not ending.finished:  # os._exit(0) in the middle of its work
        return ExitReason(ExitKind.CRASH, "exit:0 unfinished")
    if code == 0:
        return ExitReason(ExitKind.NORMAL, "exit:0")
    return ExitReason(ExitKind.CRASH, f"exit:{code}")


def likely(ending: Ending) -> ExitReason:
    """The exit reason that a process will most likely have that hangs up without being asked."""
    return verdict(EXIT_1 if ending.exception else signal.SIGKILL, ending)


def is_unplanned(ending: Ending, reason: ExitReason, was_ready: bool) -> bool:
    """Whether an end is one that nobody had planned, so that somebody may ask what it was.

    Stops, reloads and recycles are planned, whatever they took; but not those for `MEMORY_HARD`.
    """
    if ending.ended is IGNORED:
        return False
    if ending.stop_requested:
        return ending.stop_cause == MEMORY_HARD
    if ending.kill_cause in PLANNED_KILLS:
        return False
    return not was_ready or not reason.is_normal or bool(ending.gave_up)


def last_exit(
    status: int | None, ending: Ending, reason: ExitReason, at: float, incarnation: int
) -> LastExit:
    """The record of an end for status and health. ``at``: Unix seconds."""
    code = None if status is None else os.waitstatus_to_exitcode(status)
    used = ending.exited
    return LastExit(
        cause=reason.cause or reason.kind.value,
        at=at,
        exit_code=code if code is not None and code >= 0 else None,
        signal=signal_name(-code) if code is not None and code < 0 else None,
        detail=ending.message[:DETAIL_LIMIT],
        user_seconds=None if used is None else round(used.user_time, 3),
        system_seconds=None if used is None else round(used.system_time, 3),
        max_rss_bytes=None if used is None else used.max_rss_bytes,
        incarnation=incarnation,
    )


def signal_name(signum: int) -> str:
    """A signal's name; the number for one that has none (most real-time signals)."""
    return _SIGNAL_NAMES.get(signum) or f"signal {signum}"


_SIGNAL_NAMES = {int(one): one.name for one in signal.Signals}


#: Characters of an exception's message kept in status.
DETAIL_LIMIT = 300
