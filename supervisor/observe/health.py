"""The health documents: pure functions of a snapshot.

The form is that of draft-inadarei-api-health-check-06 (application/health+json): ``status``, flat
``checks`` of "component:measurement" to a list, and an extension, ``supervisor``, with the tree.
Times are RFC 3339 in UTC, units are in the names, what is not known is null. Keys are only ever
added within "supervisor.health/1".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from supervisor import caches
from supervisor.logs.figures import Figures
from supervisor.observe import judge, logged, steady
from supervisor.observe.snapshot import (
    ChildStatus,
    LastExit,
    Snapshot,
    SupervisorStatus,
    WorkerStatus,
)
from supervisor.recycling.report import Report

SCHEMA = "supervisor.health/1"
#: Seconds after which a snapshot says nothing about now any more.
STALE_AFTER = 5.0
#: Bytes of a document; a larger one is given without its slots, and says so.
MAX_DOCUMENT = 256 * 1024
#: Notes in a document at most.
MAX_NOTES = 50

Document = dict[str, Any]
Since = Mapping[str, float]


def health(
    snapshot: Snapshot,
    now: float,
    down_since: Since,
    report: Report | None = None,
    figures: Figures | None = None,
    *,
    detail: bool = True,
) -> Document:
    """Return the document of GET /healthz.

    Args:
        snapshot: the state of the app.
        now: Unix time.
        down_since: by child path, since when it has nothing ready (`judge.Downtime`).
        report: what the arbiter has seen of memory.
        figures: what the pump has counted of logs.
        detail: False for clients that may know the status only: no paths in notes, no tree.

    """
    moment = timestamp(snapshot.time)
    added = steady.checks(report, moment) | logged.checks(figures, now, moment)
    statuses = [found[0]["status"] for found in added.values()]
    status = judge.worst([judge.whole(snapshot, now, down_since), *statuses])
    checks = _checks(snapshot, now, down_since) | added
    document: Document = {"status": status, "version": "1", "time": timestamp(now)}
    if not detail:
        names = {name: [{"status": found[0]["status"]}] for name, found in checks.items()}
        return document | {"checks": names}
    notes = _notes(checks)
    document |= {
        "releaseId": None,
        "serviceId": f"{snapshot.name}/{snapshot.run_id}",
        "description": f"{snapshot.name}: {snapshot.app}",
        "notes": notes[:MAX_NOTES],
    }
    if status != judge.PASS:
        document["output"] = notes[0] if notes else f"the app is {snapshot.phase}"
    document["checks"] = checks
    document["links"] = {"self": "/healthz", "live": "/livez", "ready": "/readyz"}
    document["supervisor"] = _extension(snapshot, now, down_since)
    document["supervisor"]["steady_state"] = steady.section(snapshot, report, now)
    document["supervisor"]["logs"] = logged.section(figures, now)
    return _bounded(document, checks)


def live(snapshot: Snapshot | None, now: float) -> Document:
    """Return the document of GET /livez: whether root answers, and nothing else."""
    if snapshot is not None and now - snapshot.time <= STALE_AFTER:
        return {"status": judge.PASS}
    return {"status": judge.FAIL, "output": "root does not answer"}


def ready(snapshot: Snapshot, now: float) -> Document:
    """Return the document of GET /readyz: whether to send work here."""
    failing = [] if snapshot.phase == "running" else [f"the app is {snapshot.phase}"]
    failing += [
        f"{one.path} has nothing ready"
        for one in judge.children(snapshot.tree)
        if judge.is_critical(one) and judge.is_down(one)
    ]
    if now - snapshot.time > STALE_AFTER:
        failing.append("root does not answer")
    return _verdict(failing)


def started(snapshot: Snapshot, latched: bool) -> Document:
    """Return the document of GET /startupz; ``latched``: a complete start was seen before."""
    if latched or snapshot.phase == "running":
        return {"status": judge.PASS}
    below = judge.children(snapshot.tree)
    waiting = [one.path for one in below if judge.is_down(one)]
    return {
        "status": judge.FAIL,
        "started": len(below) - len(waiting),
        "total": len(below),
        "waiting": waiting[:MAX_NOTES],
    }


def part(snapshot: Snapshot, path: str, now: float, down_since: Since) -> Document | None:
    """Return the document of GET /healthz/tree/<path>; None if there is no such path."""
    pending: list[SupervisorStatus | ChildStatus] = [snapshot.tree]
    while pending:
        node = pending.pop()
        if node.path == path:
            return _node(node, now, down_since)
        if isinstance(node, SupervisorStatus):
            pending.extend(node.children)
        else:
            for worker in node.workers:
                if worker.path == path:
                    return {"path": path} | _worker(worker, node.restart, now)
    return None


def version(snapshot: Snapshot) -> Document:
    """Return the document of GET /version."""
    return {"version": snapshot.version, "commit": None, "built_at": None}


def timestamp(when: float | None) -> str | None:
    """Write a Unix time as RFC 3339 in UTC, to the millisecond."""
    if when is None:
        return None
    text = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _verdict(failing: list[str]) -> Document:
    if not failing:
        return {"status": judge.PASS}
    return {"status": judge.FAIL, "failing": failing[:MAX_NOTES], "output": failing[0]}


# --- checks -----------------------------------------------------------------------------------


def _checks(snapshot: Snapshot, now: float, down_since: Since) -> dict[str, list[Document]]:
    moment = timestamp(snapshot.time)
    lag, uptime = snapshot.loop_longest_pass, now - snapshot.started_at
    checks = {
        "root:longestLoopPass": [_measure("system", round(lag, 6), "s", judge.PASS, moment)],
        "uptime": [_measure("system", round(uptime, 3), "s", judge.PASS, moment)],
    }
    for each in judge.supervisors(snapshot.tree):
        checks[f"{each.path}:restarts"] = [_supervisor_check(each, moment)]
    for one in judge.children(snapshot.tree):
        check = _measure("component", one.ready, "workers", judge.PASS, moment)
        check |= {"componentId": one.path, "target": one.count}
        check["status"] = judge.child(one, now, down_since)
        check["links"] = {"self": f"/healthz/tree/{one.path}"}
        checks[f"{one.path}:ready"] = [check | _why(one, check["status"], now)]
    for service in snapshot.services:
        status = judge.PASS if service.state == "ready" else judge.WARN
        check = _measure("component", service.state, None, status, moment)
        output = {} if status == judge.PASS else {"output": f"{service.path} is {service.state}"}
        checks[f"{service.path}:state"] = [check | output]
    for queue in snapshot.queues:
        used = judge.utilization(queue)
        check = _measure("datastore", used, "ratio", judge.queue(queue), moment)
        check["componentId"] = f"queue/{queue.get('name')}"
        if check["status"] != judge.PASS:
            check["output"] = f"queue {queue.get('name')} {judge.queue_trouble(queue)}"
        checks[f"{queue.get('name')}:utilization"] = [check]
    return checks


def _supervisor_check(one: SupervisorStatus, moment: str | None) -> Document:
    status = judge.supervisor_itself(one)
    check = _measure("component", one.restarts_in_period, "restarts", status, moment)
    check |= {"componentId": one.path, "limit": one.intensity}
    if judge.is_flapping(one):
        check["output"] = f"{one.path}: {one.restarts_in_period} restarts in {one.period} s"
    elif status != judge.PASS:
        check["output"] = f"{one.path} is {one.state}"
    return check


def _measure(kind: str, value: Any, unit: str | None, status: str, moment: str | None) -> Document:
    return {
        "componentType": kind,
        "observedValue": value,
        "observedUnit": unit,
        "status": status,
        "time": moment,
    }


def _why(child: ChildStatus, status: str, now: float) -> Document:
    """Say what is wrong with a child, by its worst slot; nothing on pass."""
    if status == judge.PASS:
        return {}
    bad = [one for one in child.workers if judge.worker(one, child.restart, now) != judge.PASS]
    if not bad:
        return {"output": f"{child.path}: {child.ready} of {child.count} ready"}
    last = f", last exit {bad[0].last_exit.cause}" if bad[0].last_exit else ""
    up = bad[0].state == "ready" and judge.is_flapping_slot(bad[0], now)
    return {"output": f"{bad[0].path} is {'flapping' if up else bad[0].state}{last}"}


def _notes(checks: dict[str, list[Document]]) -> list[str]:
    """List what is wrong, failures first."""
    wrong = [found[0] for found in checks.values() if "output" in found[0]]
    wrong.sort(key=lambda check: check["status"])  # "fail" before "warn"
    return [check["output"] for check in wrong]


# --- the extension ----------------------------------------------------------------------------


def _extension(snapshot: Snapshot, now: float, down_since: Since) -> Document:
    children = judge.children(snapshot.tree)
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
        },
        "summary": {
            "supervisors": len(judge.supervisors(snapshot.tree)),
            "children": len(children),
            "workers_target": sum(one.count for one in children),
            "workers_ready": sum(one.ready for one in children),
            "restarts": sum(slot.restarts for one in children for slot in one.workers),
        },
        "tree": _node(snapshot.tree, now, down_since),
        "services": [_worker(one, "permanent", now) for one in snapshot.services],
        "queues": [{**queue, "status": judge.queue(queue)} for queue in snapshot.queues],
    }


def _node(one: SupervisorStatus | ChildStatus, now: float, down_since: Since) -> Document:
    if isinstance(one, ChildStatus):
        return {
            "path": one.path,
            "kind": one.kind,
            "restart": one.restart,
            "critical": judge.is_critical(one),
            "status": judge.child(one, now, down_since),
            "target": one.count,
            "ready": one.ready,
            "runs": one.target,
            "queue": one.queue,
            "down_since": timestamp(down_since.get(one.path)),
            "caches": [_cache(cache) for cache in caches.summed([w.caches for w in one.workers])],
            "workers": [_worker(slot, one.restart, now) for slot in one.workers],
        }
    return {
        "path": one.path,
        "kind": "supervisor",
        "status": judge.supervisor(one, now, down_since),
        "state": one.state,
        "strategy": one.strategy,
        "restart": one.restart,
        "pid": one.pid,
        "generation": one.generation,
        "started_at": timestamp(one.started_at),
        "restarts": one.restarts,
        "last_exit": _last_exit(one.last_exit),
        "intensity": {
            "max_restarts": one.intensity,
            "period_seconds": one.period,
            "used": one.restarts_in_period,
        },
        "children": [_node(below, now, down_since) for below in one.children],
    }


def _cache(one: caches.CacheFacts) -> Document:
    asked = one.hits + one.misses
    ratio = round(one.hits / asked, 4) if asked else None
    return {**msgspec.structs.asdict(one), "hit_ratio": ratio}


def _worker(one: WorkerStatus, restart: str, now: float) -> Document:
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
    }


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
    }


# --- size -------------------------------------------------------------------------------------


def _bounded(document: Document, checks: dict[str, list[Document]]) -> Document:
    """Fold the slots of a document that is too large; then leave out the tree; then the checks."""
    if len(msgspec.json.encode(document)) <= MAX_DOCUMENT:
        return document
    extension = document["supervisor"]
    extension["truncated"] = True
    _fold(extension["tree"])
    if extension["logs"] is not None:
        extension["logs"]["children"] = None
    if len(msgspec.json.encode(document)) > MAX_DOCUMENT:
        extension["tree"] = None
    if len(msgspec.json.encode(document)) > MAX_DOCUMENT:
        wrong = {name: found for name, found in checks.items() if "output" in found[0]}
        document["checks"] = dict(list(wrong.items())[:MAX_NOTES])
    return document


def _fold(node: Document) -> None:
    if "workers" in node:
        node["workers"] = None
    for below in node.get("children", []):
        _fold(below)
