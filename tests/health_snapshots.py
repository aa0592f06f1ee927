"""Snapshots for tests of the health page."""

from typing import Any

from supervisor.observe.snapshot import (
    ChildStatus,
    LastExit,
    Snapshot,
    SupervisorStatus,
    WorkerStatus,
)

NOW = 1_800_000_000.0


def worker(path: str, state: str = "ready", **more: Any) -> WorkerStatus:
    """One slot; ready and well unless it is said otherwise."""
    slot = int(path.rpartition(".")[2])
    running = {"pid": 100 + slot, "generation": 1, "started_at": NOW - 60}
    return WorkerStatus(path, slot, state, **{**(running if state == "ready" else {}), **more})


def child(path: str, *workers: WorkerStatus, **more: Any) -> ChildStatus:
    """One child; with one ready slot if none are given."""
    slots = list(workers) or [worker(f"{path}.0")]
    ready = sum(one.state == "ready" for one in slots)
    kind = "pool" if len(slots) > 1 else "worker"
    fields = {"restart": "permanent", "target": "shop:run", "count": len(slots), **more}
    return ChildStatus(path=path, kind=kind, ready=ready, workers=slots, **fields)


def supervisor(
    path: str, *children: ChildStatus | SupervisorStatus, **more: Any
) -> SupervisorStatus:
    """One supervisor."""
    fields = {
        "state": "ready", "strategy": "one_for_one", "restart": "permanent", "intensity": 3,
        "period": 5, "restarts_in_period": 0, "pid": 42, **more,
    }  # fmt: skip
    return SupervisorStatus(path=path, children=list(children), **fields)


def snapshot(*children: ChildStatus | SupervisorStatus, **more: Any) -> Snapshot:
    """A running app named "shop"."""
    fields = {"phase": "running", "time": NOW, "services": [], **more}
    tree = fields.pop("tree", None) or supervisor("shop", *children)
    return Snapshot(
        name="shop", app="shop:tree", pid=42, run_id="r-1", version="0.1.0",
        started_at=NOW - 100, tree=tree, **fields,
    )  # fmt: skip


def crashed(seconds_ago: float, cause: str = "signal:SIGSEGV") -> LastExit:
    """The last end of a process."""
    return LastExit(cause, NOW - seconds_ago, signal="SIGSEGV", detail="boom")
