"""Addition to OTP: recycling, the replacement of a running child start-before-stop.

The successor starts beside the old process; once it is up, and has stayed so for a while (it
soaks), it is the child's process, and the old one is stopped. If it does not come up, the old
process stays. A recycle never counts for intensity.
"""

from dataclasses import replace

from supervisor.core import process
from supervisor.core.child import Child, ChildState, IllegalMoveError, Other, Role
from supervisor.core.engine import settle
from supervisor.core.events import (
    Call,
    CancelTimer,
    Exited,
    Recycle,
    Reply,
    Report,
    ReportContext,
    SetTimer,
    Timer,
    TimerKind,
)
from supervisor.core.exits import ExitReason
from supervisor.core.results import Error, Ok
from supervisor.core.spec import ChildSpec
from supervisor.core.state import Draft, Phase


def recycle(draft: Draft, call: Call, request: Recycle) -> None:
    """Start a successor for a running child."""
    child = draft.children.get(request.child)
    if child is None:
        draft.emit(Reply(call.ref, Error("not_found")))
    elif child.state is not ChildState.RUNNING:
        draft.emit(Reply(call.ref, Error("not_running")))
    elif child.other is not None:
        draft.emit(Reply(call.ref, Error("recycling")))
    else:
        incarnation = process.launch(draft, child.spec, wanted=True)
        successor = Other(incarnation, Role.SUCCESSOR, call.ref, request.soak, request.patience)
        draft.change(child, other=successor)


def started(draft: Draft, child: Child, other: Other) -> None:
    """The successor is up."""
    if other.role is Role.RETIRING:
        return  # crossed with the request to stop it
    if other.role is Role.READY:
        raise IllegalMoveError(child, "successor up, twice")
    process.launched(draft, child.spec, other.incarnation)
    if child.state is ChildState.RUNNING and draft.phase is not Phase.STOPPING and not other.soak:
        _take_over(draft, child, other)
        return
    draft.change(child, other=replace(other, role=Role.READY))
    if other.soak:
        draft.emit(SetTimer(_soak_timer(child, other), other.soak))


def soaked(draft: Draft, child: Child, incarnation: int) -> None:
    """A successor has stayed up for long enough."""
    other = child.other
    if other is None or other.role is not Role.READY or other.incarnation != incarnation:
        return
    if child.state is ChildState.RUNNING and draft.phase is not Phase.STOPPING:
        _take_over(draft, child, other)


def _take_over(draft: Draft, child: Child, other: Other) -> None:
    retiring = replace(other, incarnation=child.incarnation, role=Role.RETIRING)
    draft.change(child, incarnation=other.incarnation, other=retiring, up_at=draft.now)
    process.halt(draft, _parting(child, retiring), retiring.incarnation)


def _parting(child: Child, retiring: Other) -> ChildSpec:
    """Return the spec by which the old process is stopped."""
    if retiring.patience is None or child.spec.shutdown is None:
        return child.spec
    return replace(child.spec, shutdown=retiring.patience)


def _soak_timer(child: Child, successor: Other) -> Timer:
    return Timer(TimerKind.SOAK, child.id, successor.incarnation)


def failed(draft: Draft, child: Child, other: Other, reason: ExitReason) -> None:
    """The successor did not come up: the old process, if it is still there, stays."""
    if other.role is Role.SUCCESSOR:
        draft.emit(Report(ReportContext.START_ERROR, child.id, reason))
    _without(draft, child, other, Error("start_failed", reason.cause))


def ignored(draft: Draft, child: Child, other: Other) -> None:
    """The successor declined to start."""
    _without(draft, child, other, Error("ignored"))


def exited(draft: Draft, child: Child, other: Other, event: Exited) -> None:
    """The second process of a child has ended."""
    if other.role is Role.SUCCESSOR:
        failed(draft, child, other, event.reason)
        return
    if other.role is Role.RETIRING:
        process.report_stop(draft, child.spec, event.reason)
    _without(draft, child, other, Ok() if other.role is Role.RETIRING else Error("exited"))


def _without(draft: Draft, child: Child, other: Other, value: Ok | Error) -> None:
    if other.role is Role.SUCCESSOR:
        process.launched(draft, child.spec, other.incarnation)
    if other.role is Role.READY and other.soak:
        draft.emit(CancelTimer(_soak_timer(child, other)))
    if other.role is Role.RETIRING:
        process.halted(draft, _parting(child, other), other.incarnation)
    process.answer(draft, other, value)
    child = draft.change(child, other=None)
    if child.state is ChildState.STOPPING:
        settle(draft, child)
    else:
        draft.ready.extend(draft.waiting.pop(child.id, ()))
