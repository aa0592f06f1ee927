"""Crash reports in the health documents: how many there are, and how many could not be written.

Pure: from what the janitor has said, which may be missing.
"""

from typing import Any

from supervisor.crashes.register import Register
from supervisor.observe import judge

Document = dict[str, Any]


def checks(register: Register | None, moment: str | None) -> dict[str, list[Document]]:
    """Return the check of crash reports: a warning while they cannot be written.

    That there are some is none: what has crashed shows in its own state.
    """
    if register is None:
        return {}
    check: Document = {
        "componentType": "datastore",
        "observedValue": register.kept,
        "observedUnit": "reports",
        "status": judge.WARN if register.problem else judge.PASS,
        "time": moment,
    }
    if register.problem:
        check["output"] = f"crash reports cannot be written: {register.problem}"
    return {"crashes:reports": [check]}


def section(register: Register | None, now: float) -> Document | None:
    """Return what the extension tells; None: nothing is known."""
    if register is None:
        return None
    return {
        "counted_seconds": round(max(0.0, now - register.since), 3),
        "kept": register.kept,
        "bytes": register.bytes,
        "written": register.written,
        "skipped": register.skipped,
        "failed": register.failed,
        "problem": register.problem or None,
    }
