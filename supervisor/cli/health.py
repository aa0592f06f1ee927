"""The verdict on a whole app in one word, and why: what `status` exits with.

FAIL: the app is not running, or something that should run has nothing ready. WARN: it works, but
not as declared. Pure: a snapshot in, a verdict out.
"""

from dataclasses import dataclass

from supervisor.cli.text import duration, line, plural
from supervisor.observe import judge
from supervisor.observe.snapshot import ChildStatus, Snapshot, SupervisorStatus, WorkerStatus

#: States of a slot that is not meant to run now.
AT_REST = ("stopped",)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``word`` is OK, WARN or FAIL; ``notes`` are the reasons, the worst first."""

    word: str
    notes: list[str]

    @property
    def exit_code(self) -> int:
        """0 when it works, 3 when it does not."""
        return 3 if self.word == "FAIL" else 0


def assess(snapshot: Snapshot) -> Verdict:
    """Judge an app."""
    fails: list[str] = []
    warnings: list[str] = []
    if snapshot.phase != "running":
        fails.append(f"the app is {snapshot.phase}")
    _assess_supervisor(snapshot.tree, snapshot, fails, warnings)
    for service in snapshot.services:
        if service.state != "ready":
            warnings.append(f"{service.path} (of the runtime) is {service.state}")
    for queue in snapshot.queues:
        if trouble := judge.queue_trouble(queue):
            found = fails if judge.queue(queue) == judge.FAIL else warnings
            found.append(f"queue {queue.get('name')} {trouble}")
    if exhausted := judge.exhaustion(snapshot, snapshot.time):
        warnings.append(exhausted)
    if left := judge.left_behind(snapshot):
        warnings.append(judge.unkillable(left))
    word = "FAIL" if fails else "WARN" if warnings else "OK"
    return Verdict(word, [line(note) for note in fails + warnings])


def _assess_supervisor(
    status: SupervisorStatus, snapshot: Snapshot, fails: list[str], warnings: list[str]
) -> None:
    if status.state in AT_REST and status.restart == "permanent":
        warnings.append(f"{status.path} is stopped")
    elif status.state not in ("ready", "running", *AT_REST):
        fails.append(f"{status.path} is {status.state}")
    for child in status.children:
        if isinstance(child, SupervisorStatus):
            _assess_supervisor(child, snapshot, fails, warnings)
        else:
            _assess_child(child, status.state, snapshot, fails, warnings)


def _assess_child(
    child: ChildStatus, above: str, snapshot: Snapshot, fails: list[str], warnings: list[str]
) -> None:
    wanted = [worker for worker in child.workers if worker.state not in AT_REST]
    not_begun = not child.workers and above not in AT_REST
    wanted_count = child.count if not_begun else len(wanted)
    resting = len(child.workers) - len(wanted)
    if wanted_count and not child.ready:
        note = worst(child).state if wanted else "not started"
        fails.append(f"{child.path} has nothing ready ({note})")
    elif child.ready < wanted_count:
        warnings.append(f"{child.path} has {child.ready} of {child.count} ready")
    if resting and child.restart == "permanent" and above not in AT_REST:
        warnings.append(f"{child.path} has {plural(resting, 'stopped slot')}")


def worst(child: ChildStatus) -> WorkerStatus:
    """Pick the slot in the worst state: the one to look at first."""
    order = ("unkillable", "restarting", "stopping", "starting", "stopped", "ready")
    return min(child.workers, key=lambda one: order.index(one.state) if one.state in order else -1)


def exit_note(child: ChildStatus, now: float) -> str:
    """Say what is next for a child, and how its last process ended."""
    notes = []
    waiting = [worker for worker in child.workers if (worker.restart_at or 0) > now]
    for worker in waiting[:1]:
        assert worker.restart_at is not None
        notes.append(f"slot {worker.slot} restarts in {duration(worker.restart_at - now)}")
    ended = [worker for worker in child.workers if worker.last_exit is not None]
    if ended:
        last = max(ended, key=lambda one: one.last_exit.at if one.last_exit else 0.0)
        assert last.last_exit is not None
        where = f"slot {last.slot}: " if len(child.workers) > 1 else ""
        note = f"{where}{last.last_exit.cause} {duration(now - last.last_exit.at)} ago"
        detail = f": {last.last_exit.detail}" if last.last_exit.detail else ""
        notes.append(note + detail)
    return line("; ".join(notes))
