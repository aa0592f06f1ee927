"""From a checked tree to what the core and the shell work with: specs, keys and paths.

A Child with `count` N occupies N slots ``name.0 … name.N-1`` (one slot is ``name.0`` too, so that
it can be scaled without changing its name); a nested supervisor is one child under its own name.
The path of a slot is the path of its supervisor, "/", and the slot's key.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from supervisor.core.spec import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildType,
    Restart,
    Strategy,
    SupervisorSpec,
)
from supervisor.definition import ChildDefinition, SupervisorDefinition


@dataclass(frozen=True, slots=True)
class Service:
    """One of the runtime's own processes: an entry function and the descriptors it is given.

    ``announce`` is called whenever a new process of it was asked for, to tell it what it must know.
    """

    name: str
    entry: str
    argument: bytes = b""
    fds: dict[str, int] = field(default_factory=dict, hash=False)
    announce: Callable[[], None] = field(default=lambda: None, compare=False)
    needs_app: bool = False  # it calls the author's functions: forked where the app is imported


@dataclass(frozen=True, slots=True)
class ChildStart:
    """What the shell needs to start a child; the ``start`` of a core spec.

    ``path`` is the slot's path, ``owner`` the path of the Child (the same for all its slots).
    """

    path: str
    owner: str
    slot: int
    definition: ChildDefinition | SupervisorDefinition | Service


def supervisor_spec(
    definition: SupervisorDefinition, path: str, numbers: Mapping[str, Sequence[int]] | None = None
) -> SupervisorSpec:
    """The core's spec of a supervisor, its `count` children spread over their slots.

    ``numbers``: by child, those of its slots, where they are not 0 … count-1.
    """
    children: list[ChildSpec] = []
    for child in definition.children:
        if isinstance(child, SupervisorDefinition):
            children.append(_nested_spec(child, path))
        else:
            slots = (numbers or {}).get(child.name, range(child.count))
            children.extend(slot_spec(child, path, n) for n in slots)
    return SupervisorSpec(
        id=path,
        strategy=Strategy(definition.strategy),
        intensity=definition.intensity,
        period=definition.period,
        auto_shutdown=AutoShutdown(definition.auto_shutdown),
        children=tuple(children),
    )


def declared_paths(definition: SupervisorDefinition, path: str) -> list[str]:
    """The paths of all that is declared below a supervisor, whether it has any slots now or not."""
    found: list[str] = []
    for child in definition.children:
        below = f"{path}/{child.name}"
        found.append(below)
        if isinstance(child, SupervisorDefinition):
            found += declared_paths(child, below)
    return found


def counts(definition: SupervisorDefinition, path: str) -> dict[str, int]:
    """The declared number of slots of what can be scaled, every Child, by its path."""
    found: dict[str, int] = {}
    for child in definition.children:
        below = f"{path}/{child.name}"
        if isinstance(child, SupervisorDefinition):
            found |= counts(child, below)
        else:
            found[below] = child.count
    return found


def slot_spec(child: ChildDefinition, supervisor_path: str, slot: int) -> ChildSpec:
    """The core's spec of one slot."""
    key = f"{child.name}.{slot}"
    owner = f"{supervisor_path}/{child.name}"
    return ChildSpec(
        id=key,
        start=ChildStart(f"{supervisor_path}/{key}", owner, slot, child),
        restart=Restart(child.restart),
        shutdown=child.shutdown,
        significant=child.significant,
        pool=child.name,
        start_timeout=child.start_timeout,
        backoff=Backoff(*child.backoff) if child.backoff else None,
        give_up_after=child.give_up_after,
    )


def _nested_spec(child: SupervisorDefinition, supervisor_path: str) -> ChildSpec:
    path = f"{supervisor_path}/{child.name}"
    return ChildSpec(
        id=child.name,
        start=ChildStart(path, path, 0, child),
        restart=Restart(child.restart),
        shutdown=child.shutdown,
        type=ChildType.SUPERVISOR,
        significant=child.significant,
        start_timeout=child.start_timeout,
    )


def as_mapping(spec: SupervisorSpec) -> dict[str, object]:
    """Write a spec as the core's change of specs takes it."""
    fields = ("id", "strategy", "intensity", "period", "auto_shutdown", "children")
    return {name: getattr(spec, name) for name in fields}


def is_changed(old: ChildSpec, new: ChildSpec) -> bool:
    """Whether a process that was started by the one spec is not what the other one describes."""
    return _essence(old) != _essence(new)


def _essence(spec: ChildSpec) -> object:
    assert isinstance(spec.start, ChildStart)
    definition = spec.start.definition
    if isinstance(definition, ChildDefinition):
        return msgspec.structs.replace(definition, where="", count=1)
    return definition


def services_spec(services: list[Service]) -> SupervisorSpec:
    """The supervisor of the runtime's own processes: one_for_one, and patient."""
    return SupervisorSpec(
        id="runtime",
        strategy=Strategy.ONE_FOR_ONE,
        intensity=20,
        period=60,
        children=tuple(
            ChildSpec(
                id=service.name,
                start=ChildStart(f"runtime/{service.name}", f"runtime/{service.name}", 0, service),
                shutdown=10.0,
                start_timeout=30.0,
            )
            for service in services
        ),
    )
