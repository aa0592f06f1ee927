"""Supervisor reports: what OTP's supervisor writes to the error log, as structured records."""

import logging

from supervisor.core.events import Report, ReportContext
from supervisor.core.restart import NEVER_STABLE
from supervisor.shell.surroundings import Log

_EVENTS = {
    ReportContext.CHILD_TERMINATED: (logging.ERROR, "child terminated"),
    ReportContext.START_ERROR: (logging.ERROR, "child failed to start"),
    ReportContext.SHUTDOWN_ERROR: (logging.WARNING, "child did not stop as asked"),
    ReportContext.SHUTDOWN: (logging.CRITICAL, "reached maximum restart intensity"),
}


def write(log: Log, supervisor_path: str, report: Report) -> None:
    """Write one report."""
    level, event = _EVENTS[report.context]
    if report.reason == NEVER_STABLE:
        event = "child was never stable"
    fields: dict[str, object] = {"count": report.count} if report.count > 1 else {}
    log(
        level,
        event,
        supervisor=supervisor_path,
        context=report.context.value,
        offender=report.child,
        reason=report.reason.kind.value,
        cause=report.reason.cause,
        **fields,
    )
