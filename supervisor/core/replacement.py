"""Addition to OTP: recycling, the replacement of a running child start-before-stop.

The successor starts beside the old process; once it is up it is the child's process, and the old
one is stopped as its spec says. If it does not come up, the old process stays. A recycle never
counts for intensity.
"""

from supervisor.core import process
from supervisor.core.child import Child, ChildState, IllegalMoveError, Other, Role
from supervisor.core.engine import settle
from supervisor.core.events import Call, Exited, Recycle, Reply, Report, ReportContext
from supervisor.core.exits import ExitReason
from supervisor.core.results import Error, Ok
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
        draft.change(child, other=Other(incarnation, Role.SUCCESSOR, call.ref))


def started(draft: Draft, child: Child, other: Other) -> None:
    """The successor is up."""
    if other.role is Role.RETIRING:
        return  # crossed with the request to stop it
    if other.role is Role.READY:
        raise IllegalMoveError(child, "successor up, twice")
    process.launched(draft, child.spec, other.incarnation)
    if child.state is not ChildState.RUNNING or draft.phase is Phase.STOPPING:
        draft.change(child, other=Other(other.incarnation, Role.READY, other.ref))
        return
    retiring = Other(child.incarnation, Role.RETIRING, other.ref)
    draft.change(child, incarnation=other.incarnation, other=retiring, up_at=draft.now)
    process.halt(draft, child.spec, retiring.incarnation)


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
    if other.role is Role.RETIRING:
        process.halted(draft, child.spec, other.incarnation)
    process.answer(draft, other, value)
    child = draft.change(child, other=None)
    if child.state is ChildState.STOPPING:
        settle(draft, child)
    else:
        draft.ready.extend(draft.waiting.pop(child.id, ()))
