"""Steady state in the health documents: memory against its budget, recycles, lost capacity.

Pure: from a snapshot and the arbiter's report, which may be missing.
"""

from typing import Any

from supervisor.observe import judge
from supervisor.observe.snapshot import Snapshot
from supervisor.recycling.report import Report, TemplateReport

Document = dict[str, Any]
#: The part of its budget from which on an app's memory is a warning.
BUDGET_WARN = 0.85
#: Paths that a note names.
MAX_NAMED = 3
#: Workers that are listed by what they have.
MAX_LARGEST = 10

_NOTES = {
    "recycle_thrash": "recycled over and over without getting any better",
    "recycle_blocked": "cannot be recycled: its replacement does not get ready",
    "template_blocked": "is due, and no other one could take over: see its log",
    "soft_below_baseline": "memory_soft is less than a fresh worker needs",
    "hard_below_baseline": "memory_hard is less than a fresh worker needs",
}


def deficit(snapshot: Snapshot, now: float) -> float:
    """Return the worker-seconds in which a slot was meant to serve and had nothing ready."""
    lost = 0.0
    for child in judge.children(snapshot.tree):
        for worker in child.workers:
            lost += worker.capacity_lost
            if worker.capacity_lost_since is not None:
                lost += max(0.0, now - worker.capacity_lost_since)
    return lost


def checks(report: Report | None, moment: str | None) -> dict[str, list[Document]]:
    """Return the checks of memory: none without a report, or of what is not known."""
    if report is None:
        return {}
    found: dict[str, list[Document]] = {}
    if report.used is not None and report.budget is not None:
        found["memory:utilization"] = [_utilization(report.used / report.budget, moment)]
    for word, paths in report.warnings.items():
        named = ", ".join(paths[:MAX_NAMED]) + (" ..." if len(paths) > MAX_NAMED else "")
        found[f"recycling:{word}"] = [
            {
                "componentType": "component",
                "observedValue": len(paths),
                "observedUnit": "workers",
                "status": judge.WARN,
                "time": moment,
                "output": f"{named}: {_NOTES.get(word, word)}",
            }
        ]
    return found


def _utilization(used: float, moment: str | None) -> Document:
    memory: Document = {
        "componentType": "system",
        "observedValue": round(used, 4),
        "observedUnit": "ratio",
        "status": judge.WARN if used >= BUDGET_WARN else judge.PASS,
        "time": moment,
    }
    if memory["status"] != judge.PASS:
        memory["output"] = f"the app uses {used:.0%} of its memory budget"
    return memory


def _largest(report: Report) -> list[Document]:
    """Return the workers that have most for themselves, of those that could be looked at."""
    known = [item for item in report.slots.items() if item[1].is_known]
    slots = sorted(known, key=lambda item: -item[1].private)[:MAX_LARGEST]
    return [
        {
            "path": path,
            "private_bytes": slot.private,
            "soft_bytes": slot.limits[0],
            "hard_bytes": slot.limits[1],
            "baseline_bytes": slot.baseline,
            "growth_bytes_per_second": None if slot.trend is None else round(slot.trend),
            "growth_bytes_per_message": slot.per_message and round(slot.per_message),
            "fds": slot.fds,
            "threads": slot.threads,
        }
        for path, slot in slots
    ]


def _template(one: TemplateReport) -> Document:
    return {
        "pid": one.pid,
        "state": one.state,
        "age_seconds": one.age,
        "max_age_seconds": one.max_age,
        "processes": one.processes,
        "own_bytes": one.own,
        "fresh_bytes": one.fresh,
        "limit_bytes": one.limit,
    }


def section(snapshot: Snapshot, report: Report | None, now: float) -> Document:
    """Return what the extension tells; of what is not known, null."""
    slots = [slot for child in judge.children(snapshot.tree) for slot in child.workers]
    document: Document = {
        "capacity_deficit_worker_seconds": round(deficit(snapshot, now), 6),
        "recycles": sum(slot.recycles for slot in slots),
        "recycling": [slot.path for slot in slots if slot.recycling],
        "memory": None,
    }
    if report is not None:
        document["memory"] = {
            "age_seconds": round(max(0.0, now - report.at), 3),
            "private_bytes": report.used,
            "budget_bytes": report.budget,
            "available_bytes": report.available,
            "pressure_some_percent": report.pressure_some,
            "pressure_full_percent": report.pressure_full,
            "runtime_bytes": report.runtime,
            "recycles_failed": report.failed,
            "stopped_first": report.stopped_first,
            "deferred": report.deferred,
            "largest": _largest(report),
            "templates": [_template(one) for one in report.templates],
        }
    return document
