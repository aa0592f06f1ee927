"""How many processes a tree has now: as declared, and as its children were scaled since."""

from collections.abc import Mapping

from supervisor.definition import SupervisorDefinition
from supervisor.root.descriptors import all_slots
from supervisor.shell.plan import counts
from supervisor.shell.status import Board


def scaled(definition: SupervisorDefinition, board: Board, path: str, count: int) -> int:
    """Count the slots and nested supervisors of a tree with one child that gets another count."""
    return _with(definition, board, {path: count})


def reloaded(old: SupervisorDefinition, new: SupervisorDefinition, board: Board) -> int:
    """Count those of a tree that takes over a new definition.

    A child whose declared count has not changed keeps the slots that it has.
    """
    before = counts(old, old.name)
    changed = {
        path: count for path, count in counts(new, new.name).items() if before.get(path) != count
    }
    return _with(new, board, changed)


def _with(definition: SupervisorDefinition, board: Board, changed: Mapping[str, int]) -> int:
    declared = counts(definition, definition.name)
    supervisors = all_slots(definition) - sum(declared.values())
    return supervisors + sum(
        changed[path] if path in changed else len(board.slots(path)) for path in declared
    )
