"""How many file descriptors a tree needs, and a reserve for when there are none.

Checked against the limit before the start, or a tree that is too large for ``ulimit -n`` would fail
somewhere in the middle of it.
"""

import contextlib
import errno
import os
import resource
from collections.abc import Iterator

from supervisor.declare.checks import Subject, shown
from supervisor.definition import SupervisorDefinition

#: What a supervisor holds for each slot: both ends of two log pipes, what root keeps of them for
#: the pump, the link, the stacks, one in passing.
PER_SLOT = 9
#: What the pump holds for each slot of the whole app: the read ends of two pipes.
PER_SLOT_IN_PUMP = 2
#: What a process of the runtime holds besides: control connections, templates, files, spares.
BASE = 96
#: What is held in reserve for starts: a link, stacks, the log pipes of a new slot.
RESERVED = 10
#: Errors that mean that there are none left, for us or for the machine.
NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


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


class Reserve:
    """Descriptors that are held only to be given back when there are no others."""

    def __init__(self, size: int = RESERVED) -> None:
        self._size = size
        self._held: list[int] = []
        self.refill()

    @property
    def held(self) -> int:
        """How many there are."""
        return len(self._held)

    def release(self, count: int | None = None) -> None:
        """Give back so many; all of them if it is not said."""
        for _ in range(len(self._held) if count is None else min(count, len(self._held))):
            os.close(self._held.pop())

    def refill(self) -> None:
        """Hold as many again as it was made with, or as there are."""
        try:
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Give them back for something that needs them for a moment."""
        self.release()
        try:
            yield
        finally:
            self.refill()


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
