"""What the end of a child means: restart or not, the group, the intensity, auto_shutdown.

Source: OTP stdlib ``supervisor``, ``do_restart/3`` and ``restart/2``.
"""

from supervisor.core import backoff, engine, intensity, process, strategy
from supervisor.core.child import Child, ChildState, Move, Other, Role
from supervisor.core.events import Report, ReportContext
from supervisor.core.exits import SHUTDOWN, ExitKind, ExitReason
from supervisor.core.results import Error, Ok
from supervisor.core.spec import Restart
from supervisor.core.state import Draft
from supervisor.core.task import Abandon, StartWave, StopWave
from supervisor.core.task import Restart as RestartGoal

GIVEN_UP = ExitReason(ExitKind.SHUTDOWN, "reached_max_restart_intensity")
NEVER_STABLE = ExitReason(ExitKind.SHUTDOWN, "reached_max_failures_in_a_row")


def wanted(restart: Restart, reason: ExitReason) -> bool:
    """Whether a child that ended by itself is started again."""
    return restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and not reason.is_normal)


def decide(draft: Draft, child: Child) -> None:
    """Act upon the end of an EXITED child."""
    assert child.reason is not None
    again = wanted(child.spec.restart, child.reason)
    if again or not (child.reason.is_normal or child.spec.restart is Restart.TRANSIENT):
        draft.emit(Report(ReportContext.CHILD_TERMINATED, child.id, child.reason))
    if not again:
        _forget(draft, child)
    elif not _delayed(draft, child):
        restart(draft, draft.children[child.id])


def _forget(draft: Draft, child: Child) -> None:
    """The child ended for good; a successor on its way goes too."""
    if child.other is not None:
        child = draft.change(child, reason=process.expected(child.spec))
        engine.run(draft, Abandon(child.spec), (StopWave((child.id,)),))
        return
    child = draft.release(draft.move(child, Move.DROP, reason=None))
    if draft.simple or child.spec.restart is Restart.TEMPORARY:
        draft.remove(child)
    engine.auto_shutdown(draft, child.spec)


def _delayed(draft: Draft, child: Child) -> bool:
    """Keep the streak of failures; whether backoff puts the restart off."""
    policy = child.spec.backoff
    if child.blameless or (policy is None and child.spec.give_up_after is None):
        return False
    uptime = draft.now - child.up_at
    if backoff.recovered(policy, child.failures, uptime, draft.spec.period):
        child = draft.change(child, failures=0)
    last = process.is_last_failure(child.spec, child.failures + 1)
    if policy is None or child.failures == 0 or child.other is not None or last:
        draft.change(child, failures=child.failures + 1)
        return False
    delay = process.delay_before_restart(draft, child)
    child = draft.move(child, Move.DELAY, reason=None)
    process.retry_later(draft, child, delay)
    draft.change(child, failures=child.failures + 1)
    return True


def restart(draft: Draft, child: Child) -> None:
    """Restart an EXITED or RESTARTING child and its group, unless the intensity forbids it.

    A blameless exit is not counted (an addition, see ``events.Exited``). Another addition is a
    second rule: so many failures in a row are too many however slowly they come, which they do
    with ``backoff``, so that the intensity never sees them.
    """
    if not child.blameless:
        draft.restarts = intensity.add(draft.restarts, draft.now, draft.spec.period)
        if len(draft.restarts) > draft.spec.intensity:
            _give_up(draft, child, GIVEN_UP)
            return
        if process.is_last_failure(child.spec, child.failures):
            _give_up(draft, child, NEVER_STABLE)
            return
    if draft.grouped:
        _restart_group(draft, child)
    elif child.other is not None:
        _adopt(draft, child, child.other)
    else:
        engine.run(draft, RestartGoal(), (StartWave((child.id,)),))


def _restart_group(draft: Draft, child: Child) -> None:
    steps = strategy.restart_steps(draft.children, draft.spec.strategy, child.id)
    group = strategy.group(draft.children, draft.spec.strategy, child.id)
    _put_down(draft, child)
    for member in (draft.children[name] for name in group):
        # It would have given up when it is tried again, which this restart would come before.
        failed = member.state is ChildState.RESTARTING
        if failed and process.is_last_failure(member.spec, member.failures):
            _give_up(draft, member, NEVER_STABLE)
            return
    engine.run(draft, RestartGoal(), steps)


def _give_up(draft: Draft, child: Child, why: ExitReason) -> None:
    draft.emit(Report(ReportContext.SHUTDOWN, child.id, why))
    _put_down(draft, child)
    engine.end(draft, SHUTDOWN)


def _put_down(draft: Draft, child: Child) -> None:
    """The end of the culprit has been reported: stopping it must not report it again."""
    if child.other is None:
        draft.move(child, Move.DROP, reason=None, blameless=False)
    else:
        draft.change(child, reason=process.expected(child.spec))


def _adopt(draft: Draft, child: Child, successor: Other) -> None:
    """The successor that a recycle has under way becomes the restart."""
    up = successor.role is Role.READY
    process.answer(draft, successor, Ok() if up else Error("exited"))
    task = draft.add_task(RestartGoal(), ())
    draft.tasks[task] = draft.tasks[task]._replace(waiting=frozenset({child.id}))
    child = draft.move(
        child,
        Move.SUCCEED,
        incarnation=successor.incarnation,
        other=None,
        task=task,
        reason=None,
        blameless=False,
    )
    if up:
        engine.started(draft, child)


def retry(draft: Draft, child: Child, incarnation: int) -> None:
    """Try a failed or delayed restart again; dropped if the child is not waiting for that."""
    if child.state is ChildState.RESTARTING and child.incarnation == incarnation:
        restart(draft, child)
