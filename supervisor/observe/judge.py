"""Pass, warn or fail: the state of each part of a tree, and of the whole as its worst part.

Liveness is not asked here: no child, queue or disk may get root restarted. A child counts as
critical when it is permanent: nothing else says that the app cannot do without it.
"""

from collections import deque
from collections.abc import Mapping

import msgspec

from supervisor.core import flapping
from supervisor.observe.snapshot import (
    ChildStatus,
    QueueFacts,
    Snapshot,
    SupervisorStatus,
    WorkerStatus,
)

#: Seconds that a critical child may have nothing ready before that is a failure.
FAIL_AFTER = 10.0
#: The part of a queue in use from which on it is a warning.
QUEUE_WARN = 0.8
#: Seconds for which a message that has become a dead letter is a warning.
DEAD_LATELY = 600.0

#: Seconds for which it is a warning that root had no descriptors left.
EXHAUSTED_LATELY = 300.0

PASS, WARN, FAIL = "pass", "warn", "fail"
_ORDER = (PASS, WARN, FAIL)
#: States of slots that are to run, the worst last.
_STATES = ("ready", "stopping", "starting", "restarting", "suspended", "unkillable")

Node = SupervisorStatus | ChildStatus


def worst(statuses: list[str]) -> str:
    """Return the worst of some statuses."""
    return max(statuses, key=_ORDER.index, default=PASS)


def worker(one: WorkerStatus, restart: str, now: float) -> str:
    """Judge a slot: at most a warning, a child is more than one of its slots."""
    if one.state == "stopped" and restart != "permanent":
        return PASS  # it ended as it may
    in_backoff = (one.restart_at or 0.0) > now
    well = one.state == "ready" and not in_backoff and not is_flapping_slot(one, now)
    return PASS if well else WARN


def is_flapping_slot(one: WorkerStatus, now: float) -> bool:
    """Whether a slot has failed so often lately that it is not well, though it may be up."""
    return flapping.is_flapping(one.failure_score, now - (one.started_at or now))


def wanted(child: ChildStatus) -> int:
    """Count the slots that are meant to run."""
    if not child.workers:
        return child.count
    return sum(one.state != "stopped" for one in child.workers)


def is_critical(child: ChildStatus) -> bool:
    """Whether the app cannot do without it."""
    return child.restart == "permanent"


def state(child: ChildStatus) -> str:
    """Return the state of a child: that of all its slots, or the worst of those that are to run.

    ``stopped``: nothing of it is meant to run.
    """
    states = {one.state for one in child.workers} - {"stopped"}
    return max(states, key=_STATES.index, default="stopped")


def is_down(child: ChildStatus) -> bool:
    """Whether it has nothing ready though it should have."""
    return wanted(child) > 0 and child.ready < 1


def child(one: ChildStatus, now: float, down_since: Mapping[str, float]) -> str:
    """Judge a child: fail when it is critical and was down for longer than `FAIL_AFTER`."""
    status = worst([worker(slot, one.restart, now) for slot in one.workers])
    if one.ready < wanted(one):
        status = WARN
    since = down_since.get(one.path)
    if is_critical(one) and since is not None and now - since > FAIL_AFTER:
        status = FAIL
    return status


def supervisor_itself(one: SupervisorStatus) -> str:
    """Judge a supervisor without what is below it."""
    ended = one.state == "stopped" and one.restart != "permanent"
    runs = one.state in ("ready", "running")
    return PASS if (runs or ended) and not is_flapping(one) else WARN


def supervisor(one: SupervisorStatus, now: float, down_since: Mapping[str, float]) -> str:
    """Judge a supervisor by itself and by what is below it."""
    below = (node(child, now, down_since) for child in one.children)
    return worst([supervisor_itself(one), *below])


def is_flapping(one: SupervisorStatus) -> bool:
    """Whether half of the restarts that it may make were made."""
    return one.restarts_in_period > 0 and 2 * one.restarts_in_period >= one.intensity


def node(one: Node, now: float, down_since: Mapping[str, float]) -> str:
    """Judge a part of the tree."""
    if isinstance(one, SupervisorStatus):
        return supervisor(one, now, down_since)
    return child(one, now, down_since)


def queue(one: Mapping[str, int | float | str]) -> str:
    """Judge a queue: fail when it can keep nothing, a warning when it is full or held up."""
    if not queue_trouble(one):
        return PASS
    return FAIL if is_lost(one) else WARN


def queue_trouble(one: Mapping[str, int | float | str]) -> str:
    """Say what is wrong with a queue; "" if nothing is."""
    if is_lost(one):
        return f"takes nothing: its store is {one['store']}"
    if one.get("dead_full"):  # until somebody has looked at the dead letters
        return f"delivers nothing: its {one.get('dead')} dead letters are all it may keep"
    if one.get("paused"):
        return "delivers nothing: it is paused"
    if one.get("closed"):
        return "takes nothing: it is drained"
    if one.get("dead_lately"):
        return f"has buried {one['dead_lately']} messages in the last 10 minutes"
    if one.get("damage"):  # until somebody has looked at what was set aside
        return f"was damaged: {one['damage']} things are not as they were written, see its log"
    used = utilization(one)
    return f"is {used:.0%} full" if used is not None and used > QUEUE_WARN else ""


def is_lost(one: Mapping[str, int | float | str]) -> bool:
    """Whether what is put into a queue cannot be kept, and so is refused."""
    return one.get("store", "ok") not in ("", "ok")


def utilization(one: Mapping[str, int | float | str]) -> float | None:
    """Return the part of a queue that is in use, of messages or bytes; None: it is not known."""
    parts = []
    for there, most in (("depth", "capacity"), ("bytes", "bytes_capacity")):
        found, limit = one.get(there), one.get(most)
        if isinstance(found, int | float) and isinstance(limit, int | float) and limit > 0:
            parts.append(found / limit)
    return max(parts, default=None)


def whole(snapshot: Snapshot, now: float, down_since: Mapping[str, float]) -> str:
    """Judge the app. One that is stopping fails: it does no new work."""
    phase = {"running": PASS, "starting": WARN}.get(snapshot.phase, FAIL)
    services = [PASS if one.state == "ready" else WARN for one in snapshot.services]
    queues = [queue(one) for one in snapshot.queues]
    root = WARN if left_behind(snapshot) or exhaustion(snapshot, now) else PASS
    return worst([phase, node(snapshot.tree, now, down_since), *services, *queues, root])


def exhaustion(snapshot: Snapshot, now: float) -> str:
    """Say that root has had no descriptors left lately; "" if it has had some."""
    at = snapshot.out_of_descriptors_at
    if at is None or now - at >= EXHAUSTED_LATELY:
        return ""
    return f"root (pid {snapshot.pid}) was out of file descriptors {max(0.0, now - at):.0f} s ago"


def left_behind(snapshot: Snapshot) -> dict[str, list[int]]:
    """Return the processes that could not be killed and are still there, by path."""
    slots = [slot for one in children(snapshot.tree) for slot in one.workers]
    left = {one.path: one.left_behind for one in supervisors(snapshot.tree)}
    left |= {one.path: one.left_behind for one in (*slots, *snapshot.services)}
    return {path: pids for path, pids in left.items() if pids}


def unkillable(left: Mapping[str, list[int]]) -> str:
    """Name such processes."""
    slots = (f"{path} (pid {', '.join(map(str, pids))})" for path, pids in left.items())
    return f"cannot be killed, and was left behind: {'; '.join(slots)}"


def children(one: Node) -> list[ChildStatus]:
    """Return every child below a part of the tree, in order."""
    if isinstance(one, ChildStatus):
        return [one]
    return [found for below in one.children for found in children(below)]


def supervisors(one: Node) -> list[SupervisorStatus]:
    """Return every supervisor of a part of the tree, the topmost first."""
    if isinstance(one, ChildStatus):
        return []
    return [one, *(found for below in one.children for found in supervisors(below))]


class Burials:
    """Remembers how many messages have died lately: a queue only counts how many ever have."""

    def __init__(self) -> None:
        self._totals: dict[str, deque[tuple[float, int]]] = {}  # by queue: since when how many

    def update(self, snapshot: Snapshot) -> Snapshot:
        """Take note of a snapshot; returns it with ``dead_lately`` among the facts of queues."""
        marked: list[QueueFacts] = [
            {**one, "dead_lately": self._lately(one, snapshot.time)} for one in snapshot.queues
        ]
        return msgspec.structs.replace(snapshot, queues=marked)

    def _lately(self, one: QueueFacts, now: float) -> int:
        total = int(one.get("dead_total", 0))
        history = self._totals.setdefault(str(one.get("name")), deque())
        if history and total < history[-1][1]:  # of another broker
            history.clear()
        if not history or total > history[-1][1]:
            history.append((now, total))
        while len(history) > 1 and now - history[1][0] > DEAD_LATELY:
            history.popleft()
        return total - history[0][1]


class Downtime:
    """Remembers since when each child has nothing ready: a snapshot alone does not say it.

    A child that dies as fast as it is restarted is down all the time, though its last exit is
    always recent.
    """

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def update(self, snapshot: Snapshot) -> Mapping[str, float]:
        """Take note of a snapshot; returns path to Unix time."""
        down = {one.path: one for one in children(snapshot.tree) if is_down(one) and one.workers}
        self.since = {
            path: min(self.since.get(path, snapshot.time), _last_change(one, snapshot.time))
            for path, one in down.items()
        }
        return self.since


def _last_change(one: ChildStatus, now: float) -> float:
    """Return since when a child is down at least, by what its slots say."""
    moments = [slot.last_exit.at if slot.last_exit else slot.started_at for slot in one.workers]
    return max((moment for moment in moments if moment is not None), default=now)
