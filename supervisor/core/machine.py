"""The supervision core's one entrance: ``step(state, event, now) -> (state, actions)``.

How it works, in the order to read it:

* ``events``: what comes in and goes out. ``spec``, ``validate``: what a tree is made of.
* ``child``: the states of one child. ``process``: starting and stopping its processes.
* ``task``: work that takes several events, as data. ``engine``: how a task goes on.
* ``restart``: what an exit means. ``calls``: the API. ``replacement``, ``scale``: additions.

An event either is an answer that a task waits for, or calls for a decision. Decisions wait while
what they are about is being worked on: for one child under one_for_one and simple_one_for_one, for
the whole supervisor under the group strategies. What waited is served, in order, in the very step
that frees it.

A late answer names an incarnation that is no longer the child's, and is dropped. An answer that
cannot be raises IllegalMoveError, with the recent history of its child.

Source: OTP stdlib ``supervisor``.
"""

from typing import assert_never

from supervisor.core import calls, engine, process, replacement, restart, strategy
from supervisor.core.child import Child, ChildState, IllegalMoveError, Move, Role
from supervisor.core.events import (
    Action,
    Boot,
    Call,
    Event,
    Exited,
    Kill,
    Retry,
    Shutdown,
    Started,
    StartFailed,
    StartIgnored,
    TimerFired,
    TimerKind,
)
from supervisor.core.exits import ExitReason
from supervisor.core.spec import Strategy, SupervisorSpec
from supervisor.core.state import Draft, Phase, State
from supervisor.core.task import Boot as BootGoal

__all__ = ["IllegalMoveError", "State", "new", "step"]


def new(spec: SupervisorSpec, seed: int = 0) -> State:
    """A supervisor before its Boot.

    Args:
        spec: checked flags and children, see ``validate.supervisor``.
        seed: of the jitter of backoff; the same seed and events give the same actions.
    """
    simple = spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    children = {} if simple else {child.id: Child(child) for child in spec.children}
    return State(spec, Phase.NEW, children, {}, (), {}, (), 0, seed)


def step(state: State, event: Event, now: float) -> tuple[State, tuple[Action, ...]]:
    """Take one event and decide what is to be done; ``state`` itself is never changed.

    Args:
        state: as returned by the step before.
        event: what happened.
        now: a monotonic clock, in float seconds.

    Raises:
        IllegalMoveError: the event cannot happen in this state; the shell or the core has a bug.
    """
    if state.phase is Phase.DEAD:
        return state, ()
    draft = Draft(state, now)
    _handle(draft, event)
    while (waiting := draft.next_ready()) is not None:
        _resume(draft, waiting)
    return draft.freeze(), tuple(draft.actions)


def _handle(draft: Draft, event: Event) -> None:
    match event:
        case Boot():
            _boot(draft)
        case Started() | StartIgnored() | StartFailed() | Exited():
            child = draft.children.get(event.child)
            if child is not None:
                _answered(draft, child, event)
        case TimerFired():
            _timer_fired(draft, event)
        case Retry():
            _retry(draft, event)
        case Call():
            _call(draft, event)
        case Shutdown(reason):
            engine.end(draft, reason)
        case _:
            assert_never(event)


def _resume(draft: Draft, event: Event) -> None:
    """Take an event that waited; an exit may have been dealt with meanwhile, by stopping all."""
    if not isinstance(event, Exited):
        _handle(draft, event)
        return
    child = draft.children.get(event.child)
    current = child is not None and child.incarnation == event.incarnation
    if child is not None and current and child.state is ChildState.EXITED:
        _decide(draft, child, event)


def _boot(draft: Draft) -> None:
    assert draft.phase is Phase.NEW, f"Boot of a supervisor that is {draft.phase.value}"
    draft.phase = Phase.BOOTING
    engine.run(draft, BootGoal(), strategy.start_steps(draft.children, draft.children))


def _call(draft: Draft, call: Call) -> None:
    if draft.phase is Phase.STOPPING:
        return  # the caller learns it when the supervisor quits, as in OTP (noproc)
    if draft.blocked():
        draft.park(call)
    else:
        calls.serve(draft, call)


# --- answers of processes ----------------------------------------------------------------------

Answer = Started | StartIgnored | StartFailed | Exited


def _answered(draft: Draft, child: Child, event: Answer) -> None:
    other = child.other
    if other is not None and event.incarnation == other.incarnation:
        match event:
            case Started():
                replacement.started(draft, child, other)
            case StartIgnored():
                replacement.ignored(draft, child, other)
            case StartFailed(reason=reason):
                replacement.failed(draft, child, other, reason)
            case Exited():
                replacement.exited(draft, child, other, event)
    elif event.incarnation == child.incarnation:
        match child.state:
            case ChildState.STARTING:
                _starting(draft, child, event)
            case ChildState.STOPPING:
                _stopping(draft, child, event)
            case ChildState.RUNNING if isinstance(event, Exited):
                reason, blameless = event.reason, event.blameless
                child = draft.move(child, Move.EXIT, reason=reason, blameless=blameless)
                _decide(draft, child, event)
            case _:
                raise IllegalMoveError(child, type(event).__name__)


def _starting(draft: Draft, child: Child, event: Answer) -> None:
    match event:
        case Started():
            engine.started(draft, child)
        case StartIgnored():
            engine.ignored(draft, child)
        case StartFailed(reason=reason) | Exited(reason=reason):
            engine.start_failed(draft, child, reason)


def _stopping(draft: Draft, child: Child, event: Answer) -> None:
    """The end of a process that was asked to end: its true reason counts, if it was ever up."""
    if isinstance(event, Started):
        return  # crossed with the request to stop
    if child.reason is not None:
        raise IllegalMoveError(child, type(event).__name__)
    process.halted(draft, child.spec, child.incarnation)
    reason: ExitReason = process.expected(child.spec)
    if isinstance(event, Exited):
        reason = event.reason
    engine.settle(draft, draft.change(child, reason=reason))


def _decide(draft: Draft, child: Child, event: Exited) -> None:
    """Act upon an exit, or keep it until what it concerns is free."""
    if draft.blocked():
        draft.park(event)
    elif child.task is not None or (child.other and child.other.role is Role.RETIRING):
        draft.park(event, child.id)
    else:
        restart.decide(draft, child)


def _retry(draft: Draft, event: Retry) -> None:
    child = draft.children.get(event.child)
    if child is None:
        return
    if draft.blocked():
        draft.park(event)
    elif child.task is not None:
        draft.park(event, child.id)
    else:
        restart.retry(draft, child, event.incarnation)


# --- timers ------------------------------------------------------------------------------------


def _timer_fired(draft: Draft, event: TimerFired) -> None:
    timer = event.timer
    child = draft.children.get(timer.child)
    if child is None:
        return
    match timer.kind:
        case TimerKind.BACKOFF:
            _retry(draft, Retry(timer.child, timer.incarnation))
        case TimerKind.START:
            if _is_starting(child, timer.incarnation):
                draft.emit(Kill(child.id, timer.incarnation, "start_timeout"))
        case TimerKind.SHUTDOWN:
            if _is_stopping(child, timer.incarnation):
                draft.emit(Kill(child.id, timer.incarnation, "stop_timeout"))
        case TimerKind.SOAK:
            replacement.soaked(draft, child, timer.incarnation)
        case _:
            assert_never(timer.kind)


def _is_starting(child: Child, incarnation: int) -> bool:
    if child.other is not None and child.other.incarnation == incarnation:
        return child.other.role is Role.SUCCESSOR
    return child.state is ChildState.STARTING and child.incarnation == incarnation


def _is_stopping(child: Child, incarnation: int) -> bool:
    if child.other is not None and child.other.incarnation == incarnation:
        return child.other.role is Role.RETIRING
    current = child.state is ChildState.STOPPING and child.incarnation == incarnation
    return current and child.reason is None
