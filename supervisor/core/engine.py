"""The engine of tasks: perform a step, wait for its children, go on, and reach the goal.

``advance`` is the only place where a task moves on. Everything else here says what an answer of a
process means for the task that owns its child.
"""

from typing import assert_never

from supervisor.core import process, strategy
from supervisor.core.child import Child, ChildState, Move
from supervisor.core.events import Quit, Ref, Reply, Report, ReportContext, Up
from supervisor.core.exits import SHUTDOWN, ExitKind, ExitReason
from supervisor.core.results import Error, Ok
from supervisor.core.spec import AutoShutdown, ChildSpec, Restart
from supervisor.core.state import Draft, Phase
from supervisor.core.task import (
    Abandon,
    Boot,
    End,
    Goal,
    ScaleCall,
    StartCall,
    StartWave,
    Step,
    StopCall,
    StopWave,
    Task,
)
from supervisor.core.task import Restart as RestartGoal


def run(draft: Draft, goal: Goal, steps: tuple[Step, ...]) -> None:
    """Begin a task."""
    advance(draft, draft.add_task(goal, steps))


def advance(draft: Draft, number: int) -> None:
    """Perform the steps of a task until one has to wait, or the goal is reached."""
    while True:
        task = draft.tasks[number]
        if task.waiting:
            return
        if task.errors:
            _report_sum(draft, task)
        if not task.steps:
            draft.end_task(number)
            _reach(draft, task.goal)
            return
        step = task.steps[0]
        draft.tasks[number] = task._replace(steps=task.steps[1:], errors=())
        waiting = frozenset(c for c in step.children if _perform(draft, step, c, number))
        draft.tasks[number] = draft.tasks[number]._replace(waiting=waiting)


def _perform(draft: Draft, step: Step, child_id: str, task: int) -> bool:
    """Do a step to one child; whether it must be waited for."""
    child = draft.children.get(child_id)
    if child is None:
        return False
    match step:
        case StartWave():
            if child.state in (ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING):
                return False
            process.start(draft, child, task)
            return True
        case StopWave():
            if process.stop(draft, child, task):
                return True
            _stopped(draft, draft.children[child_id])
            return False
        case _:
            assert_never(step)


def _reach(draft: Draft, goal: Goal) -> None:
    match goal:
        case Boot():
            draft.phase = Phase.RUNNING
            draft.emit(Up())
        case StopCall(ref):
            draft.emit(Reply(ref, Ok()))
        case ScaleCall(ref, failed):
            error = Error("failed_to_start_child", failed or "")
            draft.emit(Reply(ref, Ok() if failed is None else error))
        case End(reason, failed_child):
            draft.phase = Phase.DEAD
            draft.emit(Quit(reason, failed_child))
        case Abandon(spec):
            auto_shutdown(draft, spec)
        case StartCall() | RestartGoal():
            pass  # answered or given up where its only child was
        case _:
            assert_never(goal)


def _done(draft: Draft, child_id: str, number: int) -> None:
    """A child has done its part of the current step of a task."""
    task = draft.tasks[number]
    draft.tasks[number] = task._replace(waiting=task.waiting - {child_id})
    advance(draft, number)


# --- answers to a start ------------------------------------------------------------------------


def started(draft: Draft, child: Child) -> None:
    """A starting child is up."""
    process.launched(draft, child.spec, child.incarnation)
    task = _owner(draft, child)
    again = isinstance(task.goal, RestartGoal)
    child = draft.move(
        child, Move.UP, up_at=draft.now, restarts=child.restarts + again, reason=None
    )
    draft.release(child)
    if isinstance(task.goal, StartCall):
        draft.emit(Reply(task.goal.ref, Ok(child.incarnation)))
    _done(draft, child.id, task.id)


def ignored(draft: Draft, child: Child) -> None:
    """A starting child declined: its spec is kept, unless it is temporary or an instance.

    OTP's restart_child keeps even a temporary one.
    """
    process.launched(draft, child.spec, child.incarnation)
    task = _owner(draft, child)
    child = draft.release(draft.move(child, Move.IGNORE))
    by_hand = isinstance(task.goal, StartCall) and not task.goal.new
    if draft.simple or (child.spec.restart is Restart.TEMPORARY and not by_hand):
        draft.remove(child)
    if isinstance(task.goal, StartCall):
        draft.emit(Reply(task.goal.ref, Ok()))
    _done(draft, child.id, task.id)


def start_failed(draft: Draft, child: Child, reason: ExitReason) -> None:
    """A start failed; what that means depends on what the start was for."""
    process.launched(draft, child.spec, child.incarnation)
    task = _owner(draft, child)
    match task.goal:
        case Boot():
            draft.release(draft.move(child, Move.FAIL))
            draft.emit(Report(ReportContext.START_ERROR, child.id, reason))
            cause = f"failed_to_start_child:{child.id}"
            end(draft, ExitReason(ExitKind.SHUTDOWN_OTHER, cause), child.id)
        case RestartGoal():
            _restart_failed(draft, child, task, reason)
        case StartCall(ref, new):
            child = draft.release(draft.move(child, Move.FAIL))
            if new:
                draft.remove(child)
            draft.emit(Reply(ref, Error("start_failed", reason.cause)))
            _done(draft, child.id, task.id)
        case ScaleCall(ref, failed):
            draft.emit(Report(ReportContext.START_ERROR, child.id, reason))
            draft.remove(draft.release(draft.move(child, Move.FAIL)))
            draft.tasks[task.id] = task._replace(goal=ScaleCall(ref, failed or child.id))
            _done(draft, child.id, task.id)
        case End():
            draft.release(draft.move(child, Move.FAIL))
            _done(draft, child.id, task.id)
        case StopCall() | Abandon():
            raise AssertionError(f"{child.id} is starting within {task.goal}, which starts nothing")
        case _:
            assert_never(task.goal)


def _restart_failed(draft: Draft, child: Child, task: Task, reason: ExitReason) -> None:
    """The child is tried again, later ones of the round stay down until then (OTP try_again)."""
    draft.emit(Report(ReportContext.START_ERROR, child.id, reason))
    delay = process.delay_before_restart(draft, child)
    child = draft.release(draft.move(child, Move.RETRY))
    process.retry_later(draft, child, delay)
    draft.change(child, failures=child.failures + 1)
    draft.tasks[task.id] = task._replace(steps=())
    _done(draft, child.id, task.id)


def _owner(draft: Draft, child: Child) -> Task:
    assert child.task is not None, f"{child.id} is {child.state.value} outside of any task"
    return draft.tasks[child.task]


# --- answers to a stop -------------------------------------------------------------------------


def settle(draft: Draft, child: Child) -> None:
    """Go on with a stopping child, if the last of its processes is gone."""
    if child.state is ChildState.STOPPING and child.reason is not None and child.other is None:
        task = _owner(draft, child)
        _stopped(draft, child)
        _done(draft, child.id, task.id)


def _stopped(draft: Draft, child: Child) -> None:
    """A child that was to be stopped has no process: report, and forget it if it is not kept."""
    task = _owner(draft, child)
    if child.state in (ChildState.STOPPING, ChildState.EXITED):
        assert child.reason is not None
        _report(draft, task, child, child.reason)
        move = Move.GONE if child.state is ChildState.STOPPING else Move.DROP
        child = draft.move(child, move, reason=None)
    forget = isinstance(task.goal, ScaleCall)
    if isinstance(task.goal, StopCall):  # somebody has seen to it: a streak of failures ends
        forget = task.goal.forget
        child = draft.change(child, failures=0)
    child = draft.release(child)
    if forget or draft.simple or child.spec.restart is Restart.TEMPORARY:
        draft.remove(child)


def _report(draft: Draft, task: Task, child: Child, reason: ExitReason) -> None:
    if not (draft.simple and isinstance(task.goal, End)):
        process.report_stop(draft, child.spec, reason)
    elif process.unexpected(child.spec, reason):
        task = draft.tasks[task.id]
        draft.tasks[task.id] = task._replace(errors=(*task.errors, reason))


def _report_sum(draft: Draft, task: Task) -> None:
    """The errors of a simple_one_for_one wave, one report for each class of reason."""
    template = draft.spec.children[0].id
    for kind in sorted({reason.kind for reason in task.errors}, key=lambda kind: kind.value):
        alike = [reason for reason in task.errors if reason.kind is kind]
        draft.emit(Report(ReportContext.SHUTDOWN_ERROR, template, alike[0], len(alike)))


# --- the end -----------------------------------------------------------------------------------


def end(draft: Draft, reason: ExitReason, failed_child: str | None = None) -> None:
    """Stop every child in reverse order, then quit with ``reason``.

    Every task under way is dropped; calls not yet answered end with the supervisor, as in OTP.
    """
    if draft.phase in (Phase.STOPPING, Phase.DEAD):
        return
    draft.phase = Phase.STOPPING
    draft.tasks.clear()
    draft.waiting.clear()
    draft.ready.clear()
    draft.mailbox = ()
    steps = strategy.stop_steps(draft.children, draft.children)
    if draft.simple:
        steps = (StopWave(tuple(draft.children)),)
    number = draft.add_task(End(reason, failed_child), steps)
    for child in [child for child in draft.children.values() if child.task is not None]:
        draft.change(child, task=number)  # what was under way answers to the end from now on
    advance(draft, number)


def auto_shutdown(draft: Draft, spec: ChildSpec) -> None:
    """End the supervisor if the final exit of this child calls for it (OTP ``auto_shutdown``)."""
    mode = draft.spec.auto_shutdown
    if not spec.significant or mode is AutoShutdown.NEVER:
        return
    alive = any(
        c.spec.significant and c.state is not ChildState.UNDEFINED for c in draft.children.values()
    )
    if mode is AutoShutdown.ANY_SIGNIFICANT or not alive:
        end(draft, SHUTDOWN)


def cancel_start(draft: Draft, child: Child, ref: Ref) -> None:
    """terminate_child of a child that is starting: the start is cancelled, whoever wanted it.

    A child that was new with that start is not kept.
    """
    task = _owner(draft, child)
    forget = False
    match task.goal:
        case StartCall(starter, new):
            forget = new
            draft.emit(Reply(starter, Error("terminated")))
        case ScaleCall(scaler, failed):
            forget = True
            draft.tasks[task.id] = task._replace(goal=ScaleCall(scaler, failed or child.id))
    child = draft.change(child, task=None)
    run(draft, StopCall(ref, forget), (StopWave((child.id,)),))
    if isinstance(task.goal, ScaleCall):
        _done(draft, child.id, task.id)
    else:
        draft.end_task(task.id)
