"""The health documents: pure functions of a snapshot.

The form is that of draft-inadarei-api-health-check-06 (application/health+json): ``status``, flat
``checks`` of "component:measurement" to a list, and an extension, ``supervisor``, with the tree.
Times are RFC 3339 in UTC, units are in the names, what is not known is null. Keys are only ever
added within "supervisor.health/1", whose JSON schema is `health.schema.json` beside this file.
"""

import re
from collections.abc import Collection
from typing import Any

import msgspec

from supervisor.crashes.register import Register
from supervisor.logs.figures import Figures
from supervisor.observe import crashed, judge, logged, steady
from supervisor.observe.extension import Document, Since, View, extension, timestamp
from supervisor.observe.snapshot import ChildStatus, Snapshot, SupervisorStatus
from supervisor.recycling.report import Report

#: Seconds after which a snapshot says nothing about now any more.
STALE_AFTER = 5.0
#: Bytes of a document; a larger one is given without its slots, and says so.
MAX_DOCUMENT = 256 * 1024
#: Notes in a document at most.
MAX_NOTES = 50
#: Where `health.schema.json` is served.
SCHEMA_PATH = "/healthz/schema"
_COMMIT = re.compile(r"\(commit ([0-9a-f]+)")


def health(
    snapshot: Snapshot,
    now: float,
    down_since: Since,
    report: Report | None = None,
    figures: Figures | None = None,
    crashes: Register | None = None,
    *,
    host: Document | None = None,
    detail: bool = True,
) -> Document:
    """Return the document of GET /healthz.

    Args:
        snapshot: the state of the app.
        now: Unix time.
        down_since: by child path, since when it has nothing ready (`judge.Downtime`).
        report: what the arbiter has seen of memory.
        figures: what the pump has counted of logs.
        crashes: what the janitor has said of crash reports.
        host: where it runs (`observe.host`).
        detail: False for clients that may know the status only: no paths in notes, no tree.

    """
    moment = timestamp(snapshot.time)
    added = steady.checks(report, moment) | logged.checks(figures, now, moment)
    added |= crashed.checks(crashes, moment)
    statuses = [found[0]["status"] for found in added.values()]
    status = judge.worst([judge.whole(snapshot, now, down_since), *statuses])
    checks = _checks(snapshot, now, down_since) | added
    document: Document = {"status": status, "version": "1", "time": timestamp(now)}
    if not detail:
        names = {name: [{"status": found[0]["status"]}] for name, found in checks.items()}
        return document | {"checks": names}
    notes = _notes(checks)
    document |= {
        "releaseId": code_of(snapshot),
        "serviceId": f"{snapshot.name}/{snapshot.run_id}",
        "description": f"{snapshot.name}: {snapshot.app}",
        "notes": notes[:MAX_NOTES],
    }
    if status != judge.PASS:
        document["output"] = notes[0] if notes else f"the app is {snapshot.phase}"
    document["checks"] = checks
    document["links"] = {
        "self": "/healthz",
        "live": "/livez",
        "ready": "/readyz",
        "describedby": SCHEMA_PATH,
    }
    document["supervisor"] = extension(snapshot, now, down_since, report, host or {})
    document["supervisor"]["steady_state"] = steady.section(snapshot, report, now)
    document["supervisor"]["logs"] = logged.section(figures, now)
    document["supervisor"]["crashes"] = crashed.section(crashes, now)
    return _bounded(document, checks)


def live(snapshot: Snapshot | None, now: float) -> Document:
    """Return the document of GET /livez: whether root answers, and nothing else."""
    if snapshot is not None and now - snapshot.time <= STALE_AFTER:
        return {"status": judge.PASS}
    return {"status": judge.FAIL, "output": "root does not answer"}


def readiness(snapshot: Snapshot, now: float) -> dict[str, str]:
    """Return what has to be so for work to be sent here, by name: what is wrong with it, or ""."""
    stale = now - snapshot.time > STALE_AFTER
    checks = {
        "phase": "" if snapshot.phase == "running" else f"the app is {snapshot.phase}",
        "root": "root does not answer" if stale else "",
    }
    for one in filter(judge.is_critical, judge.children(snapshot.tree)):
        checks[one.path] = f"{one.path} has nothing ready" if judge.is_down(one) else ""
    for queue in snapshot.queues:
        name, wrong = queue.get("name"), ""
        if judge.is_lost(queue):
            wrong = f"queue {name} cannot be kept"
        elif queue.get("closed"):
            wrong = f"queue {name} takes nothing: it is drained"
        checks[f"queue/{name}"] = wrong
    return checks


def ready(snapshot: Snapshot, now: float, exclude: Collection[str] = ()) -> Document:
    """Return the document of GET /readyz: whether to send work here.

    ``exclude``: names of `readiness` that are not looked at.
    """
    found = readiness(snapshot, now).items()
    return _verdict([wrong for name, wrong in found if wrong and name not in exclude])


def ready_part(snapshot: Snapshot, name: str, now: float) -> Document | None:
    """Return the document of GET /readyz/<check>; None if there is no such check."""
    wrong = readiness(snapshot, now).get(name)
    return None if wrong is None else _verdict([wrong] if wrong else [])


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


def part(
    snapshot: Snapshot, path: str, now: float, down_since: Since, report: Report | None = None
) -> Document | None:
    """Return the document of GET /healthz/tree/<path>; None if there is no such path."""
    view = View(now, down_since, report)
    pending: list[SupervisorStatus | ChildStatus] = [snapshot.tree]
    while pending:
        node = pending.pop()
        if node.path == path:
            return view.node(node)
        if isinstance(node, SupervisorStatus):
            pending.extend(node.children)
        else:
            for worker in node.workers:
                if worker.path == path:
                    return {"path": path} | view.worker(worker, node.restart)
    return None


def version(snapshot: Snapshot) -> Document:
    """Return the document of GET /version: of the runtime, and of the app's code."""
    code = code_of(snapshot)
    commit = _COMMIT.search(code or "")
    return {
        "version": snapshot.version,
        "code": code,
        "commit": commit[1] if commit else None,
        "built_at": None,
    }


def code_of(snapshot: Snapshot) -> str | None:
    """Return which version of the app new workers have; None if that is not known."""
    serving = (one.code for one in snapshot.templates if one.state == "serving" and one.code)
    return next(serving, None)


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
    if exhausted := judge.exhaustion(snapshot, now):
        check = _measure(
            "system", timestamp(snapshot.out_of_descriptors_at), None, judge.WARN, moment
        )
        checks["root:outOfDescriptors"] = [check | {"output": exhausted}]
    if left := judge.left_behind(snapshot):
        number = sum(map(len, left.values()))
        check = _measure("system", number, "processes", judge.WARN, moment)
        checks["processes:unkillable"] = [check | {"output": judge.unkillable(left)}]
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
