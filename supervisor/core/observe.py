"""Looking at a supervisor without disturbing it: for status, and for the API's two questions."""

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.core.child import Child, ChildState, Role
from supervisor.core.results import Counts, Entry
from supervisor.core.spec import ChildSpec, ChildType, Strategy, SupervisorSpec
from supervisor.core.state import Phase, State

_SHOWN = {
    ChildState.UNDEFINED: "undefined",
    ChildState.STARTING: "starting",
    ChildState.RUNNING: "running",
    ChildState.EXITED: "running",
    ChildState.STOPPING: "running",
    ChildState.RESTARTING: "restarting",
}
_ACTIVE = (ChildState.RUNNING, ChildState.STOPPING)


@dataclass(frozen=True, slots=True)
class ChildView:
    """One child as status shows it; ``up_at`` is in seconds of the shell's clock, of Started.

    ``successor`` and ``retiring`` are incarnations, set while the child is recycled.
    """

    id: str
    spec: ChildSpec
    state: ChildState
    incarnation: int
    restarts: int
    failures: int
    up_at: float
    successor: int | None
    retiring: int | None


def phase(state: State) -> Phase:
    """Where the supervisor is in its life."""
    return state.phase


def children(state: State) -> tuple[ChildView, ...]:
    """Every child, in start order."""
    return tuple(_view(child) for child in state.children.values())


def which_children(children: Mapping[str, Child]) -> tuple[Entry, ...]:
    """OTP's which_children: newest first."""
    return tuple(
        Entry(child.id, _SHOWN[child.state], child.spec.type)
        for child in reversed(list(children.values()))
    )


def count_children(children: Mapping[str, Child], spec: SupervisorSpec) -> Counts:
    """OTP's count_children. Instances count as active unless restarting; others if alive."""
    simple = spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    supervisors = sum(c.spec.type is ChildType.SUPERVISOR for c in children.values())
    if simple:
        active = sum(c.state is not ChildState.RESTARTING for c in children.values())
    else:
        active = sum(c.state in _ACTIVE for c in children.values())
    specs = 1 if simple else len(children)
    return Counts(specs, active, supervisors, len(children) - supervisors)


def _view(child: Child) -> ChildView:
    other = child.other
    retiring = other.incarnation if other and other.role is Role.RETIRING else None
    successor = other.incarnation if other and other.role is not Role.RETIRING else None
    return ChildView(
        child.id,
        child.spec,
        child.state,
        child.incarnation,
        child.restarts,
        child.failures,
        child.up_at,
        successor,
        retiring,
    )
