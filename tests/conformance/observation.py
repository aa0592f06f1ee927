"""Observations: what a world shows after an operation, in the words of the recordings."""

from itertools import groupby
from typing import Any

from supervisor.core.events import Report, ReportContext
from supervisor.core.exits import ExitReason
from supervisor.core.results import Counts, Error, Ok
from supervisor.core.spec import ChildSpec
from tests.conformance.world import Trace


def events(traces: list[Trace]) -> list[list[Any]]:
    """The ``events``; neighbouring stops under one simple_one_for_one supervisor are sorted."""
    lines: list[list[Any]] = []
    for group, members in groupby(traces, key=lambda t: t.group):
        rows = [[t.kind, t.id, t.value] for t in members]
        lines.extend(sorted(rows, key=lambda row: str(row[1])) if group is not None else rows)
    return lines


def report(supervisor: str, line: Report, template: str | None) -> list[str]:
    """One supervisor report."""
    if line.context is ReportContext.SHUTDOWN_ERROR and line.child == template:
        return [
            supervisor,
            line.context.value,
            f"{line.child}*{line.count}",
            line.reason.kind.value,
        ]
    if line.context in (ReportContext.START_ERROR, ReportContext.SHUTDOWN):
        return [supervisor, line.context.value, line.child, line.reason.cause]
    return [supervisor, line.context.value, line.child, line.reason.kind.value]


def ret(op: dict[str, Any], value: Any) -> Any:
    """The ``ret`` of a call, from the core's answer."""
    match value:
        case None:
            return "skip" if op["op"] == "stop" else "error:noproc"
        case ExitReason():
            return value.kind.value
        case Error("start_failed", detail):
            return f"error:{detail}"
        case Error():
            return f"error:{value}"
        case Ok(ChildSpec() as spec):
            return child_spec(spec)
        case Ok(Counts() as counts):
            keys = ("specs", "active", "supervisors", "workers")
            return {key: getattr(counts, key) for key in keys}
        case Ok(tuple() as entries):
            return [[entry.id, entry.state] for entry in entries]
        case Ok(None) if op["op"] in ("start_child", "restart_child"):
            return "ok:undefined"
        case _:
            return "ok"


def child_spec(spec: ChildSpec) -> dict[str, Any]:
    """The answer to get_childspec; seconds become milliseconds again."""
    shutdown: Any = "brutal_kill"
    if spec.shutdown is not None:
        shutdown = "infinity" if spec.shutdown == float("inf") else round(spec.shutdown * 1000)
    return {
        "restart": spec.restart.value,
        "shutdown": shutdown,
        "significant": spec.significant,
        "type": spec.type.value,
    }
