"""The extension of the health document: the whole tree, with what each process has. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from supervisor import caches
from supervisor.observe import judge
from supervisor.observe.snapshot import (
    ChildStatus,
    LastExit,
    Snapshot,
    SupervisorStatus,
    WorkerStatus,
)
from supervisor.recycling.report import Report

SCHEMA = "supervisor.health/1"

Document = dict[str, Any]
Since = Mapping[str, float]


def timestamp(when: float | None) -> str | None:
    """Write a Unix time as RFC 3339 in UTC, to the millisecond."""
    if when is None:
        return None
    text = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def extension(
    snapshot: Snapshot, now: float, down_since: Since, report: Report | None, host: Document
) -> Document:
    """Make it; ``host``: where the app runs."""
    children = judge.children(snapshot.tree)
    workers = [slot for one in children for slot in one.workers]
    view = View(now, down_since, report)
    return {
        "schema": SCHEMA,
        "snapshot_age_seconds": round(max(0.0, now - snapshot.time), 3),
        "phase": snapshot.phase,
        "instance": {
            "app": snapshot.app,
            "name": snapshot.name,
            "pid": snapshot.pid,
            "run_id": snapshot.run_id,
            "runtime_version": snapshot.version,
            "started_at": timestamp(snapshot.started_at),
            "uptime_seconds": round(now - snapshot.started_at, 3),
            **host,
        },
        "summary": {
            "supervisors": len(judge.supervisors(snapshot.tree)),
            "children": len(children),
            "workers_target": sum(one.count for one in children),
            "workers_ready": sum(one.ready for one in children),
            "restarts": sum(slot.restarts for slot in workers),
            "unkillable": sum(map(len, judge.left_behind(snapshot).values())),
        },
        "tree": view.node(snapshot.tree),
        "services": [view.worker(one, "permanent") for one in snapshot.services],
        "queues": [{**queue, "status": judge.queue(queue)} for queue in snapshot.queues],
    }


@dataclass(frozen=True, slots=True)
class View:
    """How the parts of a tree are shown: now, with what is known beside the snapshot."""

    now: float
    down_since: Since
    report: Report | None = None

    def node(self, one: SupervisorStatus | ChildStatus) -> Document:
        """Return what there is to know of a part of the tree, and of all below it."""
        if isinstance(one, ChildStatus):
            return {
                "path": one.path,
                "kind": one.kind,
                "restart": one.restart,
                "critical": judge.is_critical(one),
                "status": judge.child(one, self.now, self.down_since),
                "state": judge.state(one),
                "target": one.count,
                "ready": one.ready,
                "runs": one.target,
                "queue": one.queue,
                "down_since": timestamp(self.down_since.get(one.path)),
                "caches": [
                    _cache(cache) for cache in caches.summed([w.caches for w in one.workers])
                ],
                "workers": [self.worker(slot, one.restart) for slot in one.workers],
            }
        return {
            "path": one.path,
            "kind": "supervisor",
            "status": judge.supervisor(one, self.now, self.down_since),
            "state": one.state,
            "strategy": one.strategy,
            "restart": one.restart,
            "pid": one.pid,
            "generation": one.generation,
            "started_at": timestamp(one.started_at),
            "restarts": one.restarts,
            "last_exit": _last_exit(one.last_exit),
            "left_behind": one.left_behind,
            "intensity": {
                "max_restarts": one.intensity,
                "period_seconds": one.period,
                "used": one.restarts_in_period,
            },
            "children": [self.node(below) for below in one.children],
        }

    def worker(self, one: WorkerStatus, restart: str) -> Document:
        """Return what there is to know of a slot."""
        now = self.now
        return {
            "slot": one.slot,
            "pid": one.pid,
            "generation": one.generation,
            "state": one.state,
            "status": judge.worker(one, restart, now),
            "started_at": timestamp(one.started_at),
            "uptime_seconds": _age(one.started_at if one.pid else None, now),
            "heartbeat_age_seconds": _age(one.heartbeat_at, now),
            "progress": one.progress,
            "restarts": one.restarts,
            "flapping": judge.is_flapping_slot(one, now),
            "recycles": one.recycles,
            "recycling": one.recycling,
            "backoff_seconds": max(0.0, round(one.restart_at - now, 3)) if one.restart_at else 0,
            "last_exit": _last_exit(one.last_exit),
            "left_behind": one.left_behind,
            **self._has(one),
        }

    def _has(self, one: WorkerStatus) -> Document:
        """Return what a process has, and may have, as far as the arbiter could see it."""
        report = self.report if one.pid else None
        slot = report.slots.get(one.path) if report is not None else None
        of_runtime = report.runtime.get(one.path) if report is not None else None
        soft, hard = (None, None) if slot is None else slot.limits
        seen = slot if slot is not None and slot.is_known else None
        return {
            "memory_private_bytes": of_runtime if seen is None else seen.private,
            "memory_soft_bytes": soft,
            "memory_hard_bytes": hard,
            "fds": None if seen is None else seen.fds,
            "threads": None if seen is None else seen.threads,
        }


def _cache(one: caches.CacheFacts) -> Document:
    asked = one.hits + one.misses
    ratio = round(one.hits / asked, 4) if asked else None
    return {**msgspec.structs.asdict(one), "hit_ratio": ratio}


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, round(now - since, 3))


def _last_exit(one: LastExit | None) -> Document | None:
    if one is None:
        return None
    return {
        "cause": one.cause,
        "signal": one.signal,
        "exit_code": one.exit_code,
        "at": timestamp(one.at),
        "detail": one.detail or None,
        "user_seconds": one.user_seconds,
        "system_seconds": one.system_seconds,
        "max_rss_bytes": one.max_rss_bytes,
        "crash_report": one.crash_report,
    }
