"""From a snapshot and the ledger to the census that the arbiter decides upon."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace

from supervisor.core.census import Policy, PoolView, Seen
from supervisor.core.thresholds import UNLIMITED, Limits
from supervisor.definition import ChildDefinition, SupervisorDefinition
from supervisor.observe.snapshot import (
    ChildStatus,
    QueueFacts,
    Snapshot,
    SupervisorStatus,
    WorkerStatus,
)
from supervisor.process import sample
from supervisor.recycling import machine
from supervisor.recycling.ledger import Ledger
from supervisor.recycling.temp_files import TempFiles

#: Seconds that a replacement takes beside the start of a process: it soaks, the old one drains.
SOAK_AND_DRAIN = 2.5
#: Restarts of a child within a minute from which on it is in a crash loop.
CRASH_LOOP = 3
MINUTE = 60.0
#: Seconds of a start, where nothing better is known; and of one that is believed.
USUAL_START, MOST_START = 0.5, 3600.0
_AUTOMATIC = Limits()


def declared(definition: SupervisorDefinition, path: str) -> Iterator[tuple[str, ChildDefinition]]:
    """Yield every Child with its path."""
    for child in definition.children:
        below = f"{path}/{child.name}"
        if isinstance(child, ChildDefinition):
            yield below, child
        else:
            yield from declared(child, below)


def children(tree: SupervisorStatus) -> Iterator[ChildStatus]:
    """Yield every Child of a tree."""
    for child in tree.children:
        if isinstance(child, ChildStatus):
            yield child
        else:
            yield from children(child)


class Restarts:
    """Counts restarts, to tell a crash loop."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def crash_loop(self, child: ChildStatus, now: float) -> bool:
        """Note a child's restarts; whether there were too many within a minute.

        Args:
            child: as it is now.
            now: monotonic seconds.

        """
        count = sum(worker.restarts for worker in child.workers)
        history = self._seen.setdefault(child.path, deque(maxlen=MINUTE_LOOKS))
        history.append((now, count))
        while history and now - history[0][0] > MINUTE:
            history.popleft()
        return count - history[0][1] >= CRASH_LOOP

    def forget(self, paths: set[str]) -> None:
        """Keep only these children."""
        self._seen = {path: seen for path, seen in self._seen.items() if path in paths}


MINUTE_LOOKS = 70


class Census:
    """Takes the census.

    Args:
        definition: the whole tree.
        ledger: what is known of the workers.
        temp: where their temp directories are; None: there are none.

    """

    def __init__(
        self, definition: SupervisorDefinition, ledger: Ledger, temp: str | None = None
    ) -> None:
        self._declared = dict(declared(definition, definition.name))
        self._temp_files = TempFiles(temp)
        self._ledger = ledger
        self._restarts = Restarts()
        self._policy = Policy(
            budget=definition.memory_budget or machine.budget() or UNLIMITED,
            max_concurrent=definition.max_concurrent_recycles,
            spacing=definition.recycle_spacing,
            surge_reserve=definition.surge_reserve or machine.reserve(),
        )
        self.runtime: dict[str, int] = {}  # private bytes of the runtime's own processes
        self.pressure: machine.Pressure | None = None
        self._runtime_at = float("-inf")

    def take(self, snapshot: Snapshot, softs: dict[str, float], period: float) -> Seen:
        """Measure every worker, and say what the tree looks like."""
        now = time.time()
        pools = {child.path: child for child in children(snapshot.tree)}
        workers = [worker for child in pools.values() for worker in child.workers]
        self._ledger.look(workers, softs, now)
        self._restarts.forget(set(pools))
        self._measure_runtime(snapshot)
        temp = self._temp_files.look(
            {
                worker.path: worker.pid
                for path, child in pools.items()
                for worker in child.workers
                if worker.pid is not None and self._limits_of(path).max_temp
            }
        )
        queues = {str(queue.get("name")): queue for queue in snapshot.queues}
        slots = tuple(
            replace(self._ledger.view(worker, path), temp=temp.get(worker.path, 0))
            for path, child in pools.items()
            for worker in child.workers
        )
        available, self.pressure = machine.available(), machine.pressure()
        pressure = self.pressure or machine.Pressure()
        return Seen(
            self._policy,
            slots,
            {path: self._pool(child, queues, time.monotonic()) for path, child in pools.items()},
            used=sum(slot.private for slot in slots) + sum(self.runtime.values()),
            available=UNLIMITED if available is None else available,
            psi_some=pressure.some,
            psi_full=pressure.full,
            running=snapshot.phase == "running" and not snapshot.reloading,
            period=period,
        )

    def _pool(self, child: ChildStatus, queues: Mapping[str, QueueFacts], now: float) -> PoolView:
        accounts = (self._ledger.accounts.get(worker.path) for worker in child.workers)
        wanted = [worker for worker in child.workers if _is_wanted(worker)]
        queue = queues.get(child.queue or "", {})
        start = self._start_time(child)
        return PoolView(
            self._limits_of(child.path),
            target=len(wanted),
            ready=sum(worker.state == "ready" for worker in wanted),
            queue_used=_part(queue, "depth", "capacity"),
            busy=_part(queue, "busy", "consumers"),
            crash_loop=self._restarts.crash_loop(child, now),
            cycle=start + SOAK_AND_DRAIN,
            start=start,
            nofile=min((account.nofile for account in accounts if account), default=1024),
        )

    def _limits_of(self, path: str) -> Limits:
        child = self._declared.get(path)
        return _AUTOMATIC if child is None else child.limits

    def _start_time(self, child: ChildStatus) -> float:
        """Return the longest that one of a child's processes took to get ready.

        Never more than it may take: if it does, the clock was set meanwhile.
        """
        found = max(
            (w.ready_at - w.started_at for w in child.workers if w.ready_at and w.started_at),
            default=USUAL_START,
        )
        known = self._declared.get(child.path)
        most = MOST_START if known is None else min(known.start_timeout, MOST_START)
        return found if 0.0 <= found <= most else USUAL_START

    def _measure_runtime(self, snapshot: Snapshot) -> None:
        """Measure root, the templates and the services, now and then."""
        if time.monotonic() - self._runtime_at < MINUTE / 2:
            return
        self._runtime_at = time.monotonic()
        pids = {"root": snapshot.pid}
        pids |= {f"template {pid}": pid for pid in sample.children_of(snapshot.pid)}
        pids |= {service.path: service.pid for service in snapshot.services if service.pid}
        found = {name: sample.private_bytes(pid) for name, pid in pids.items()}
        self.runtime = {name: size for name, size in found.items() if size is not None}


def _part(queue: QueueFacts, some: str, of: str) -> float:
    """Return what part of something a queue says; 0 where it does not say."""
    found, whole = queue.get(some), queue.get(of)
    if isinstance(found, int | float) and isinstance(whole, int | float) and whole > 0:
        return found / whole
    return 0.0


def _is_wanted(worker: WorkerStatus) -> bool:
    """Whether a slot ought to be ready: it was not stopped, and has not ended for good."""
    return worker.state != "stopped" or worker.restart_at is not None
