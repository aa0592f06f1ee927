"""The requests of OTP's supervisor API, with OTP's answers.

A call about a child that a task is at work on waits for that task, as in OTP every call waits for
the supervisor; only terminate_child does not wait for a start, it cancels it.

Source: OTP stdlib ``supervisor``, ``handle_call/3``.
"""

from dataclasses import replace
from typing import assert_never

from supervisor.core import change, engine, replacement, scale, validate
from supervisor.core.child import Child, ChildState
from supervisor.core.events import (
    Call,
    ChangeSpec,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    Handle,
    Recycle,
    Ref,
    Reply,
    RestartChild,
    Scale,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from supervisor.core.observe import count_children, which_children
from supervisor.core.results import Error, Ok
from supervisor.core.spec import ChildSpec
from supervisor.core.state import Draft
from supervisor.core.task import Restart as RestartGoal
from supervisor.core.task import ScaleCall, StartCall, StartWave, StopCall, StopWave

ALIVE = (ChildState.STARTING, ChildState.RUNNING, ChildState.EXITED, ChildState.STOPPING)


def serve(draft: Draft, call: Call) -> None:
    """Serve a call now; the supervisor as a whole is free."""
    match call.request:
        case StartChild(spec):
            _start_child(draft, call, spec)
        case TerminateChild() | RestartChild() | DeleteChild():
            _about_child(draft, call, call.request)
        case GetChildSpec():
            _reply(draft, call.ref, _get_childspec(draft, call.request))
        case WhichChildren():
            _reply(draft, call.ref, Ok(which_children(draft.children)))
        case CountChildren():
            _reply(draft, call.ref, Ok(count_children(draft.children, draft.spec)))
        case ChangeSpec(spec):
            _reply(draft, call.ref, change.change_spec(draft, spec))
        case Scale():
            scale.scale(draft, call, call.request)
        case Recycle():
            replacement.recycle(draft, call, call.request)
        case _:
            assert_never(call.request)


def _reply(draft: Draft, ref: Ref, value: Ok | Error) -> None:
    draft.emit(Reply(ref, value))


def _start_child(draft: Draft, call: Call, raw: object) -> None:
    spec = _instance(draft, raw) if draft.simple else _checked(draft, raw)
    if isinstance(spec, Error):
        _reply(draft, call.ref, spec)
        return
    present = draft.children.get(spec.id)
    if present is not None:
        if _busy(draft, present):
            draft.park(call, spec.id)
        elif present.state in ALIVE:
            _reply(draft, call.ref, Error("already_started"))
        else:
            _reply(draft, call.ref, Error("already_present"))
        return
    draft.children[spec.id] = Child(spec)
    engine.run(draft, StartCall(call.ref, new=True), (StartWave((spec.id,)),))


def _checked(draft: Draft, raw: object) -> ChildSpec | Error:
    spec = validate.child(raw, draft.spec.auto_shutdown)
    return spec if isinstance(spec, ChildSpec) else change.refusal(spec)


def _instance(draft: Draft, raw: object) -> ChildSpec | Error:
    """The spec of an instance: the template's, under its own id and with its own start."""
    template = draft.spec.children[0]
    if isinstance(raw, ChildSpec):
        return replace(template, id=raw.id, start=raw.start)
    if not hasattr(raw, "get"):
        return Error("invalid_child_spec", repr(raw))
    name = raw.get("id")
    if not isinstance(name, str):
        return Error("missing_id")
    return replace(template, id=name, start=raw.get("start", template.start))


def _busy(draft: Draft, child: Child) -> bool:
    """Whether a task works on the child, or something waits to be served before."""
    return child.task is not None or child.id in draft.waiting


def _about_child(
    draft: Draft, call: Call, request: TerminateChild | RestartChild | DeleteChild
) -> None:
    child = draft.children.get(request.child)
    if draft.simple and not isinstance(request, TerminateChild):
        _reply(draft, call.ref, Error("simple_one_for_one"))
    elif child is None:
        handle = request.handle if isinstance(request, TerminateChild) else Handle.NONE
        _reply(draft, call.ref, _unknown(draft, handle))
    elif isinstance(request, TerminateChild) and _cancellable(draft, child):
        engine.cancel_start(draft, child, call.ref)
    elif _busy(draft, child):
        draft.park(call, child.id)
    elif isinstance(request, TerminateChild):
        engine.run(draft, StopCall(call.ref), (StopWave((child.id,)),))
    elif isinstance(request, RestartChild):
        _restart_child(draft, call.ref, child)
    else:
        _delete_child(draft, call.ref, child)


def _unknown(draft: Draft, handle: Handle) -> Ok | Error:
    if not draft.simple or handle is Handle.LIVE:
        return Error("not_found")
    return Ok() if handle is Handle.DEAD else Error("simple_one_for_one")


def _cancellable(draft: Draft, child: Child) -> bool:
    """Whether the child is starting, on its own account: then terminate_child need not wait."""
    if child.state is not ChildState.STARTING or child.task is None:
        return False
    return isinstance(draft.tasks[child.task].goal, StartCall | RestartGoal | ScaleCall)


def _restart_child(draft: Draft, ref: Ref, child: Child) -> None:
    if child.state in ALIVE:
        _reply(draft, ref, Error("running"))
    elif child.state is ChildState.RESTARTING:
        _reply(draft, ref, Error("restarting"))
    else:
        engine.run(draft, StartCall(ref, new=False), (StartWave((child.id,)),))


def _delete_child(draft: Draft, ref: Ref, child: Child) -> None:
    if child.state in ALIVE:
        _reply(draft, ref, Error("running"))
    elif child.state is ChildState.RESTARTING:
        _reply(draft, ref, Error("restarting"))
    else:
        draft.remove(child)
        _reply(draft, ref, Ok())


def _get_childspec(draft: Draft, request: GetChildSpec) -> Ok | Error:
    child = draft.children.get(request.child)
    if child is not None:
        return Ok(child.spec)
    if draft.simple:
        template = draft.spec.children[0]
        # OTP answers with the template for a dead pid, and for the id of the template itself.
        if request.handle is Handle.DEAD or request.child == template.id:
            return Ok(template)
    return Error("not_found")
