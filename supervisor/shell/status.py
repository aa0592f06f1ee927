"""The status board: what is known of every process of a subtree, and the snapshot made of it.

Each supervisor process keeps one. A nested supervisor sends what changed to its parent, at most
every `FLUSH_DELAY`; root's board so holds the whole tree, and answers at once even when a nested
supervisor is stuck.
"""

from collections.abc import Callable, Sequence

from supervisor.definition import ChildDefinition, SupervisorDefinition
from supervisor.observe.snapshot import ChildStatus, LastExit, SupervisorStatus, WorkerStatus
from supervisor.shell.uplink import Statuses, SupervisorRecord

#: Seconds that changes are gathered before they are sent upwards.
FLUSH_DELAY = 0.05
#: Records in one message upwards: stays well below a packet's limit.
BATCH = 200


class Board:
    """The latest state of every slot (by its Child's path) and of every supervisor."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._workers: dict[str, dict[str, WorkerStatus]] = {}
        self._supervisors: dict[str, SupervisorRecord] = {}
        self._dirty_workers: dict[tuple[str, str], None] = {}
        self._dirty_supervisors: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._restart_times: dict[str, Sequence[int]] = {}
        self._dirty_restarts: dict[str, None] = {}
        self._on_change = on_change
        self.on_end: Callable[[str, LastExit], None] = _ignore  # told of each end in a slot

    def set_worker(self, owner: str, status: WorkerStatus) -> None:
        """Note the state of a slot. ``owner``: the path of its Child."""
        slots = self._workers.setdefault(owner, {})
        before, slots[status.path] = slots.get(status.path), status
        end = status.last_exit
        if end is not None and (before is None or before.last_exit != end):
            self.on_end(status.path, end)
        self._gone.pop(status.path, None)
        self._dirty_workers[owner, status.path] = None
        self._on_change()

    def set_supervisor(self, record: SupervisorRecord) -> None:
        """Note the state of a supervisor."""
        self._supervisors[record.path] = record
        self._dirty_supervisors[record.path] = None
        self._on_change()

    def set_restart_times(self, path: str, times: Sequence[int]) -> None:
        """Note the restarts that count for a supervisor's intensity: whole monotonic seconds."""
        if self._restart_times.get(path, ()) is not times:
            self._restart_times[path] = times
            self._dirty_restarts[path] = None
            self._on_change()

    def restarts_since(self, path: str, second: int) -> int:
        """Count a supervisor's restarts from that whole monotonic second on."""
        return sum(time >= second for time in self._restart_times.get(path, []))

    def remove(self, path: str) -> None:
        """Forget a slot or a supervisor, and all below it."""
        below = path + "/"
        for owner, slots in list(self._workers.items()):
            for slot in [s for s in slots if s == path or s.startswith(below)]:
                del slots[slot]
                self._dirty_workers.pop((owner, slot), None)
            if not slots:
                del self._workers[owner]
        for name in [n for n in self._supervisors if n == path or n.startswith(below)]:
            del self._supervisors[name]
            self._dirty_supervisors.pop(name, None)
            self._restart_times.pop(name, None)
            self._dirty_restarts.pop(name, None)
        self._gone[path] = None
        self._on_change()

    def worker(self, path: str) -> WorkerStatus | None:
        """Look up a slot by its path."""
        return self._workers.get(path.rpartition(".")[0], {}).get(path)

    def supervisor(self, path: str) -> SupervisorRecord | None:
        """Look up a supervisor by its path."""
        return self._supervisors.get(path)

    def slots(self, owner: str) -> list[WorkerStatus]:
        """Return the slots of a Child, in slot order."""
        return sorted(self._workers.get(owner, {}).values(), key=lambda worker: worker.slot)

    def paths(self) -> list[str]:
        """Return every path that can be named: supervisors, children and slots."""
        slots = [path for slots in self._workers.values() for path in slots]
        return [*self._supervisors, *self._workers, *slots]

    # --- upwards ------------------------------------------------------------------------------

    def take_changes(self) -> list[Statuses]:
        """Return what changed since the last call, in messages of bounded size."""
        workers = [(o, self._workers[o][p]) for o, p in self._dirty_workers]
        supervisors = [self._supervisors[path] for path in self._dirty_supervisors]
        gone = list(self._gone)
        restarts = {path: list(self._restart_times[path]) for path in self._dirty_restarts}
        self._dirty_workers.clear()
        self._dirty_supervisors.clear()
        self._gone.clear()
        self._dirty_restarts.clear()
        batches = [Statuses(gone=gone[n : n + BATCH]) for n in range(0, len(gone), BATCH)]
        batches += [
            Statuses(supervisors=supervisors[n : n + BATCH])
            for n in range(0, len(supervisors), BATCH)
        ]
        batches += [Statuses(workers=workers[n : n + BATCH]) for n in range(0, len(workers), BATCH)]
        if restarts:
            batches.append(Statuses(restart_times=restarts))
        return batches

    def merge(self, changes: Statuses) -> None:
        """Take over what a nested supervisor reported."""
        for path in changes.gone:
            self.remove(path)
        for record in changes.supervisors:
            self.set_supervisor(record)
        for owner, worker in changes.workers:
            self.set_worker(owner, worker)
        for path, times in changes.restart_times.items():
            self.set_restart_times(path, times)


def supervisor_status(
    board: Board, definition: SupervisorDefinition, path: str, now: float
) -> SupervisorStatus:
    """Assemble the state of a supervisor and all below it, in the order of its definition.

    ``now``: monotonic seconds, for the restarts within the period (counted as the core does).
    """
    record = board.supervisor(path) or SupervisorRecord(path, "stopped")
    started = record.state not in ("starting", "stopped")
    return SupervisorStatus(
        path=path,
        state=record.state,
        strategy=definition.strategy,
        restart=definition.restart,
        intensity=definition.intensity,
        period=definition.period,
        restarts_in_period=board.restarts_since(path, int(now) - definition.period),
        children=[
            supervisor_status(board, child, f"{path}/{child.name}", now)
            if isinstance(child, SupervisorDefinition)
            else child_status(board, child, f"{path}/{child.name}", started)
            for child in definition.children
        ],
        pid=record.pid,
        generation=record.generation,
        started_at=record.started_at,
        restarts=record.restarts,
        last_exit=record.last_exit,
        left_behind=record.left_behind,
        significant=definition.significant,
    )


def child_status(
    board: Board, definition: ChildDefinition, path: str, started: bool
) -> ChildStatus:
    """Assemble the state of a Child and its slots.

    ``started``: its supervisor is; then a child without slots is one that was scaled to nothing.
    """
    workers = board.slots(path)
    return ChildStatus(
        path=path,
        kind="pool" if max(definition.count, len(workers)) > 1 else "worker",
        restart=definition.restart,
        target=definition.target,
        count=len(workers) if started else len(workers) or definition.count,
        ready=sum(worker.state == "ready" for worker in workers),
        workers=workers,
        queue=definition.queue,
        significant=definition.significant,
    )


def _ignore(_path: str, _end: LastExit) -> None:
    """Nobody wants to know of ends."""
