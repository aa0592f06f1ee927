"""Logs in the health documents: how much is logged, how much is lost, what the files take.

Pure: from what the pump has counted, which may be missing.
"""

from typing import Any

from supervisor.logs.figures import Figures
from supervisor.observe import judge

Document = dict[str, Any]
#: Seconds for which dropped lines are a warning.
DROPPED_WARN = 300.0


def checks(figures: Figures | None, now: float, moment: str | None) -> dict[str, list[Document]]:
    """Return the checks of logs: none without figures.

    Files that fill their budget are no warning: they always do, and the oldest go.
    """
    if figures is None:
        return {}
    dropped: Document = {
        "componentType": "system",
        "observedValue": sum(one.dropped for one in figures.children.values()),
        "observedUnit": "lines",
        "status": judge.PASS,
        "time": moment,
    }
    if figures.dropped_at is not None and now - figures.dropped_at < DROPPED_WARN:
        worst = max(figures.children.items(), key=lambda item: item[1].dropped)
        output = f"log lines were dropped, most of {worst[0]}: {worst[1].dropped}"
        dropped |= {"status": judge.WARN, "output": output}
    found = {"logs:dropped": [dropped]}
    if figures.budget:
        files: Document = {
            "componentType": "datastore",
            "observedValue": round((figures.used or 0) / figures.budget, 4),
            "observedUnit": "ratio",
            "status": judge.WARN if figures.failing else judge.PASS,
            "time": moment,
        }
        if figures.failing:
            files["output"] = "logs cannot be written to files"
        found["logs:utilization"] = [files]
    return found


def section(figures: Figures | None, now: float) -> Document | None:
    """Return what the extension tells; None: nothing is known."""
    if figures is None:
        return None
    return {
        "age_seconds": round(max(0.0, now - figures.at), 3),
        "counted_seconds": round(max(0.0, figures.at - figures.since), 3),
        "disk_bytes": figures.used,
        "budget_bytes": figures.budget,
        "children": {
            path: {"lines": one.lines, "bytes": one.bytes, "dropped_lines": one.dropped}
            for path, one in sorted(figures.children.items())
        },
    }
