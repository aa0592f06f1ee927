"""How many file descriptors a tree needs.

Checked against the limit before the start, or a tree that is too large for ``ulimit -n`` would fail
somewhere in the middle of it.
"""

import resource

from supervisor.declare.checks import Subject, shown
from supervisor.definition import SupervisorDefinition
from supervisor.descriptors import BASE, PER_SLOT

#: What the pump holds for each slot of the whole app: the read ends of two pipes.
PER_SLOT_IN_PUMP = 2


def needed(definition: SupervisorDefinition) -> int:
    """Count what the process that needs most will hold."""
    return BASE + max(PER_SLOT * _most_slots(definition), PER_SLOT_IN_PUMP * all_slots(definition))


def require(definition: SupervisorDefinition) -> None:
    """Raise the soft limit as far as needed.

    Raises:
        DefinitionError: the hard limit is too low for this tree.

    """
    need = needed(definition)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= need:
        return
    if hard != resource.RLIM_INFINITY and hard < need:
        subject = Subject(f"supervisor {shown(definition.name)}", definition.where)
        raise subject.error(
            f"the tree needs {need} open files in one process, and the limit is {hard}",
            f"raise it (ulimit -n {need}, or LimitNOFILE={need} in a systemd unit), "
            "lower count=, or nest supervisors",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def _slots(definition: SupervisorDefinition) -> int:
    return sum(
        1 if isinstance(child, SupervisorDefinition) else child.count
        for child in definition.children
    )


def _nested(definition: SupervisorDefinition) -> list[SupervisorDefinition]:
    return [child for child in definition.children if isinstance(child, SupervisorDefinition)]


def _most_slots(definition: SupervisorDefinition) -> int:
    return max([_slots(definition), *map(_most_slots, _nested(definition))])


def all_slots(definition: SupervisorDefinition) -> int:
    """Count the processes of a tree: slots, and nested supervisors."""
    return _slots(definition) + sum(map(all_slots, _nested(definition)))
