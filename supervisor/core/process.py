"""Starting and stopping the processes of one child: which actions, which timers.

Stopping follows OTP's ``shutdown/1``: brutal_kill kills at once; otherwise ask, and after
``shutdown`` seconds kill; infinity waits for ever; 0 asks and kills at once.
"""

import math

from supervisor.core import backoff
from supervisor.core.child import Child, ChildState, Move, Other, Role
from supervisor.core.events import (
    CancelTimer,
    Enqueue,
    Kill,
    Reply,
    Report,
    ReportContext,
    Retry,
    SetTimer,
    Start,
    Stop,
    Timer,
    TimerKind,
)
from supervisor.core.exits import KILLED, SHUTDOWN, ExitReason
from supervisor.core.results import Error
from supervisor.core.spec import ChildSpec, Restart
from supervisor.core.state import Draft
from supervisor.core.task import ScaleCall, StartCall


def launch(draft: Draft, spec: ChildSpec, *, wanted: bool) -> int:
    """Have a process started for a child; returns its incarnation."""
    incarnation = draft.number()
    draft.emit(Start(spec.id, incarnation, spec, wanted))
    if spec.start_timeout is not None:
        draft.emit(SetTimer(_timer(TimerKind.START, spec, incarnation), spec.start_timeout))
    return incarnation


def launched(draft: Draft, spec: ChildSpec, incarnation: int) -> None:
    """A start has been answered, in whatever way."""
    if spec.start_timeout is not None:
        draft.emit(CancelTimer(_timer(TimerKind.START, spec, incarnation)))


def start(draft: Draft, child: Child, task: int) -> None:
    """Start a child as part of a task."""
    wanted = isinstance(draft.tasks[task].goal, StartCall | ScaleCall)
    incarnation = launch(draft, child.spec, wanted=wanted)
    draft.move(child, Move.START, incarnation=incarnation, task=task, reason=None, blameless=False)


def halt(draft: Draft, spec: ChildSpec, incarnation: int) -> None:
    """Have one process stopped the way its spec says."""
    if spec.shutdown is None:
        draft.emit(Kill(spec.id, incarnation, "brutal_kill"))
        return
    draft.emit(Stop(spec.id, incarnation))
    if spec.shutdown == 0:
        draft.emit(Kill(spec.id, incarnation, "stop_timeout"))
    elif spec.shutdown != math.inf:
        draft.emit(SetTimer(_timer(TimerKind.SHUTDOWN, spec, incarnation), spec.shutdown))


def halted(draft: Draft, spec: ChildSpec, incarnation: int) -> None:
    """A process that was being stopped is gone: its timer is not needed any more."""
    if spec.shutdown not in (None, 0, math.inf):
        draft.emit(CancelTimer(_timer(TimerKind.SHUTDOWN, spec, incarnation)))


def stop(draft: Draft, child: Child, task: int) -> bool:
    """Stop a child as part of a task, whatever state it is in.

    Returns:
        Whether a process must be waited for. If not, the child has none, and is STOPPING no longer.
    """
    child = draft.change(child, task=task)
    match child.state:
        case ChildState.UNDEFINED:
            return False
        case ChildState.RESTARTING:
            if child.spec.backoff is not None:
                draft.emit(CancelTimer(_timer(TimerKind.BACKOFF, child.spec, child.incarnation)))
            draft.move(child, Move.DROP)
            return False
        case ChildState.EXITED if child.other is None:
            return False
        case ChildState.STOPPING:
            return True
        case ChildState.STARTING:
            launched(draft, child.spec, child.incarnation)
    if child.reason is None:
        halt(draft, child.spec, child.incarnation)
    child = draft.move(child, Move.STOP)
    if child.other is not None and child.other.role is not Role.RETIRING:
        _cancel_successor(draft, child, child.other)
    return True


def _cancel_successor(draft: Draft, child: Child, successor: Other) -> None:
    if successor.role is Role.SUCCESSOR:
        launched(draft, child.spec, successor.incarnation)
    halt(draft, child.spec, successor.incarnation)
    answer(draft, successor, Error("terminated"))
    draft.change(child, other=Other(successor.incarnation, Role.RETIRING, None))


def answer(draft: Draft, other: Other, value: object) -> None:
    """Answer the call that waits for a recycle, if there is one."""
    if other.ref is not None:
        draft.emit(Reply(other.ref, value))


def expected(spec: ChildSpec) -> ExitReason:
    """The exit reason that a child stopped by its supervisor ought to have."""
    return KILLED if spec.shutdown is None else SHUTDOWN


def unexpected(spec: ChildSpec, reason: ExitReason) -> bool:
    """Whether a child that was asked to stop ended otherwise (OTP report ``shutdown_error``)."""
    if reason.kind is expected(spec).kind:
        return False
    return spec.restart is Restart.PERMANENT or not reason.is_normal


def report_stop(draft: Draft, spec: ChildSpec, reason: ExitReason) -> None:
    """Report a stop that did not end as it ought to."""
    if unexpected(spec, reason):
        draft.emit(Report(ReportContext.SHUTDOWN_ERROR, spec.id, reason))


def delay_before_restart(draft: Draft, child: Child) -> float:
    """Seconds to wait before the next start of a child that has failed once more.

    Zero without ``backoff``, and for the first failure of a streak.
    """
    policy = child.spec.backoff
    if policy is None or child.failures == 0 or is_last_failure(child.spec, child.failures + 1):
        return 0.0
    draft.seed, fraction = backoff.draw(draft.seed)
    return fraction * backoff.bound(policy, child.failures)


def is_last_failure(spec: ChildSpec, failures: int) -> bool:
    """Whether that many failures in a row are too many."""
    return spec.give_up_after is not None and failures >= spec.give_up_after


def retry_later(draft: Draft, child: Child, delay: float) -> None:
    """Have a RESTARTING child tried again: behind what waits in the mailbox, or after a delay."""
    if child.spec.backoff is None or child.failures == 0:
        draft.emit(Enqueue(Retry(child.id, child.incarnation)))
    else:
        timer = _timer(TimerKind.BACKOFF, child.spec, child.incarnation)
        draft.emit(SetTimer(timer, delay))


def _timer(kind: TimerKind, spec: ChildSpec, incarnation: int) -> Timer:
    return Timer(kind, spec.id, incarnation)
