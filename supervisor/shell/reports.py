"""Supervisor reports: what OTP's supervisor writes to the error log, as structured records."""

import logging

from supervisor.core.events import Report, ReportContext
from supervisor.core.restart import NEVER_STABLE
from supervisor.observe.snapshot import LastExit
from supervisor.shell.surroundings import Shell

_EVENTS = {
    ReportContext.CHILD_TERMINATED: (logging.ERROR, "child terminated"),
    ReportContext.START_ERROR: (logging.ERROR, "child failed to start"),
    ReportContext.SHUTDOWN_ERROR: (logging.WARNING, "child did not stop as asked"),
    ReportContext.SHUTDOWN: (logging.CRITICAL, "reached maximum restart intensity"),
}


def write(shell: Shell, supervisor_path: str, report: Report) -> None:
    """Write one report, with what the process that it tells of has used."""
    level, event = _EVENTS[report.context]
    if report.reason == NEVER_STABLE:
        event = "child was never stable"
    fields: dict[str, object] = {"count": report.count} if report.count > 1 else {}
    path = f"{supervisor_path}/{report.child}"
    if report.context is ReportContext.SHUTDOWN:
        decision = f"no restart: its supervisor gave up: {report.reason.cause}"
        shell.obituaries.decide(path, decision)
    seen = shell.board.worker(path) or shell.board.supervisor(path)
    if seen is not None and seen.last_exit and seen.last_exit.cause == report.reason.cause:
        fields |= _used(seen.last_exit)
    shell.log(
        level,
        event,
        supervisor=supervisor_path,
        context=report.context.value,
        offender=report.child,
        reason=report.reason.kind.value,
        cause=report.reason.cause,
        **fields,
    )


def _used(end: LastExit) -> dict[str, object]:
    if end.max_rss_bytes is None:
        return {}
    return {
        "user_seconds": end.user_seconds,
        "system_seconds": end.system_seconds,
        "max_rss_bytes": end.max_rss_bytes,
    }
