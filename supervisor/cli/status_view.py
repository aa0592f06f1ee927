"""`supervisor status`: one line a child. Pure: a snapshot in, text out."""

from supervisor.cli.health import Verdict, exit_note, worst
from supervisor.cli.queue_view import blocked
from supervisor.cli.text import duration, line, paint, paint_state, plural, table
from supervisor.observe.snapshot import ChildStatus, Snapshot, SupervisorStatus

COLUMNS = ["CHILD", "STATE", "READY", "UP", "RESTARTS", "PID", "LAST EXIT"]
QUEUE_COLUMNS = ["QUEUE", "DEPTH", "OLDEST", "BLOCKED", "DEAD"]
#: Reasons for a verdict that are printed.
MAX_NOTES = 10


def status_text(snapshot: Snapshot, verdict: Verdict, colour: bool = False) -> str:
    """Render an app."""
    rows: list[tuple[list[str], str]] = []
    _rows(snapshot.tree, snapshot.time, 0, rows)
    cells = table([COLUMNS, *[row for row, _ in rows]])
    lines = [_headline(snapshot, verdict, colour), paint("  ".join(cells[0]), "grey", colour)]
    for row, (_, state) in zip(cells[1:], rows, strict=True):
        row[1] = paint_state(row[1], state, colour)
        lines.append("  ".join(row).rstrip())
    lines += _queues(snapshot, colour)
    for one in snapshot.templates:
        if one.state == "lingering":
            lines.append(f"template {one.pid} lingers: {one.processes} of its processes live")
    for note in verdict.notes[:MAX_NOTES]:
        lines.append(f"{paint_state(verdict.word, verdict.word, colour)}: {note}")
    if len(verdict.notes) > MAX_NOTES:
        lines.append(f"… and {len(verdict.notes) - MAX_NOTES} more")
    return "\n".join(lines)


def _headline(snapshot: Snapshot, verdict: Verdict, colour: bool) -> str:
    supervisors, ready, workers, restarts = _totals(snapshot.tree)
    counts = (plural(supervisors, "supervisor"), f"{ready}/{plural(workers, 'worker')}")
    parts = [
        line(snapshot.name),
        paint_state(verdict.word, verdict.word, colour),
        snapshot.phase,
        f"up {duration(snapshot.time - snapshot.started_at)}",
        f"pid {snapshot.pid}",
        " · ".join([*counts, plural(restarts, "restart")]),
    ]
    if snapshot.health_address:
        parts.append(f"http://{line(snapshot.health_address)}/healthz")
    return "  ".join(parts)


def _totals(status: SupervisorStatus) -> tuple[int, int, int, int]:
    supervisors, ready, workers, restarts = 1, 0, 0, status.restarts
    for child in status.children:
        if isinstance(child, SupervisorStatus):
            below = _totals(child)
            supervisors, ready = supervisors + below[0], ready + below[1]
            workers, restarts = workers + below[2], restarts + below[3]
        else:
            ready, workers = ready + child.ready, workers + child.count
            restarts += sum(worker.restarts for worker in child.workers)
    return supervisors, ready, workers, restarts


def _rows(
    status: SupervisorStatus, now: float, depth: int, rows: list[tuple[list[str], str]]
) -> None:
    last = status.last_exit
    note = f"{last.cause} {duration(now - last.at)} ago" if last else ""
    up = duration(now - status.started_at) if status.started_at else "-"
    name = _indented(status.path, depth)
    pid = str(status.pid or "-")
    rows.append(
        ([name, line(status.state), "", up, str(status.restarts), pid, line(note)], status.state)
    )
    for child in status.children:
        if isinstance(child, SupervisorStatus):
            _rows(child, now, depth + 1, rows)
        else:
            rows.append(_child_row(child, now, depth + 1))


def _child_row(child: ChildStatus, now: float, depth: int) -> tuple[list[str], str]:
    state = worst(child).state if child.workers else "stopped"
    ages = [now - worker.ready_at for worker in child.workers if worker.ready_at]
    row = [
        _indented(child.path, depth),
        line(state),
        f"{child.ready}/{child.count}",
        duration(min(ages)) if ages and child.ready else "-",
        str(sum(worker.restarts for worker in child.workers)),
        _pids(child),
        exit_note(child, now),
    ]
    return row, state


def _pids(child: ChildStatus) -> str:
    if len(child.workers) == 1:
        return str(child.workers[0].pid or "-")
    return "" if child.workers else "-"


def _indented(path: str, depth: int) -> str:
    return "  " * depth + line(path.rpartition("/")[2])


def _queues(snapshot: Snapshot, colour: bool) -> list[str]:
    if not snapshot.queues:
        return []
    rows = [QUEUE_COLUMNS]
    for queue in snapshot.queues:
        oldest = queue.get("oldest_age_s")
        rows.append(
            [
                line(str(queue.get("name", "?"))),
                f"{queue.get('depth', '-')}/{queue.get('capacity', '-')}",
                duration(float(oldest)) if oldest is not None else "-",
                blocked(queue),
                str(queue.get("dead", "-")),
            ]
        )
    first, *others = ["  ".join(row).rstrip() for row in table(rows)]
    return [paint(first, "grey", colour), *others]
