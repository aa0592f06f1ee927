"""`supervisor tree` and `supervisor check`: a tree drawn, the strategy on each node. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from supervisor.cli.health import exit_note
from supervisor.cli.text import duration, line, paint_state
from supervisor.definition import ChildDefinition, SupervisorDefinition
from supervisor.observe.snapshot import ChildStatus, Snapshot, SupervisorStatus, WorkerStatus


@dataclass(slots=True)
class Node:
    """A line of the drawing, and what hangs below it."""

    text: str
    below: list["Node"] = field(default_factory=list)


def draw(node: Node) -> str:
    """Draw a tree with branches."""
    return "\n".join([node.text, *_branches(node.below, "")])


def _branches(nodes: Sequence[Node], indent: str) -> list[str]:
    lines = []
    for node in nodes:
        is_last = node is nodes[-1]
        lines.append(f"{indent}{'└── ' if is_last else '├── '}{node.text}")
        lines += _branches(node.below, indent + ("    " if is_last else "│   "))
    return lines


def tree_text(snapshot: Snapshot, colour: bool = False) -> str:
    """Render a running tree: states, pids, restarts, last exits."""
    return draw(_supervisor(snapshot.tree, snapshot.time, colour))


def definition_text(definition: SupervisorDefinition) -> str:
    """Render a declared tree."""
    return draw(_declared(definition))


# --- a running tree ---------------------------------------------------------------------------


def _supervisor(status: SupervisorStatus, now: float, colour: bool) -> Node:
    parts = [
        line(status.path.rpartition("/")[2]),
        f"[{line(status.strategy)}]",
        paint_state(line(status.state), status.state, colour),
        *_process(status.pid, status.started_at, status.restarts, now),
    ]
    if status.restarts_in_period:
        used = f"{status.restarts_in_period} of {status.intensity} restarts in {status.period}s"
        parts.append(f"({used})")
    if status.last_exit is not None:
        parts.append(line(f"last: {status.last_exit.cause}"))
    return Node(
        "  ".join(parts),
        [
            _supervisor(child, now, colour)
            if isinstance(child, SupervisorStatus)
            else _child(child, now, colour)
            for child in status.children
        ],
    )


def _child(child: ChildStatus, now: float, colour: bool) -> Node:
    parts = [line(child.path.rpartition("/")[2]), line(child.restart)]
    if len(child.workers) == 1:
        parts += _slot(child.workers[0], now, colour)
    else:
        parts.append(f"{child.ready}/{child.count} ready")
    if child.queue:
        parts.append(f"queue {line(child.queue)}")
    parts.append(line(child.target, 60))
    if len(child.workers) == 1:
        note = exit_note(child, now)
        return Node("  ".join([*parts, f"last: {note}"] if note else parts))
    return Node("  ".join(parts), [_worker(worker, now, colour) for worker in child.workers])


def _worker(worker: WorkerStatus, now: float, colour: bool) -> Node:
    parts = [line(worker.path.rpartition(".")[2]), *_slot(worker, now, colour)]
    if worker.last_exit is not None:
        last = worker.last_exit
        parts.append(line(f"last: {last.cause} {duration(now - last.at)} ago"))
    return Node("  ".join(parts))


def _slot(worker: WorkerStatus, now: float, colour: bool) -> list[str]:
    state = paint_state(line(worker.state), worker.state, colour)
    return [state, *_process(worker.pid, worker.started_at, worker.restarts, now)]


def _process(pid: int | None, since: float | None, restarts: int, now: float) -> list[str]:
    parts = []
    if pid is not None:
        parts.append(f"pid {pid}")
        if since is not None:
            parts.append(f"up {duration(now - since)}")
    if restarts:
        parts.append(f"↺ {restarts}")
    return parts


# --- a declared tree --------------------------------------------------------------------------


def _declared(definition: SupervisorDefinition) -> Node:
    text = (
        f"{definition.name}  [{definition.strategy}]  at most {definition.intensity} restarts "
        f"in {definition.period}s"
    )
    if definition.auto_shutdown != "never":
        text += f"  auto_shutdown {definition.auto_shutdown}"
    return Node(
        text,
        [
            _declared(child) if isinstance(child, SupervisorDefinition) else _declared_child(child)
            for child in definition.children
        ],
    )


def _declared_child(child: ChildDefinition) -> Node:
    parts = [child.name, child.restart]
    if child.count > 1:
        parts.append(f"count {child.count}")
    if child.significant:
        parts.append("significant")
    if child.queue:
        parts.append(f"queue {child.queue}")
    parts.append(line(child.target, 60))
    return Node("  ".join(parts))
