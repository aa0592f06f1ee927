"""Tasks: work on children that takes several events, as plain data.

A task owns the children it works on. One that works on the whole supervisor (boot, group restart,
the end) is alone; under one_for_one and simple_one_for_one there is one task per child at work, so
that a slow start holds up nothing but its own child.
"""

from dataclasses import dataclass
from typing import NamedTuple

from supervisor.core.events import Ref
from supervisor.core.exits import ExitReason
from supervisor.core.spec import ChildSpec


@dataclass(frozen=True, slots=True)
class StopWave:
    """Stop these children at the same time, and wait until all are gone."""

    children: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartWave:
    """Start these children at the same time, and wait until each has answered."""

    children: tuple[str, ...]


Step = StopWave | StartWave


@dataclass(frozen=True, slots=True)
class Boot:
    """Goal: the supervisor is up."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Goal: what an exit or a failed restart took down is up again."""


@dataclass(frozen=True, slots=True)
class StartCall:
    """Goal: answer start_child (``new``: forget the child if it fails) or restart_child."""

    ref: Ref
    new: bool


@dataclass(frozen=True, slots=True)
class StopCall:
    """Goal: answer terminate_child. ``forget``: the child was never more than a start under way."""

    ref: Ref
    forget: bool = False


@dataclass(frozen=True, slots=True)
class Abandon:
    """Goal: a recycled child ended by itself for good; its successor must go too."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class ScaleCall:
    """Goal: answer scale; stopped slots are deleted, slots that fail to start are not kept."""

    ref: Ref
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Goal: every child is gone, then quit."""

    reason: ExitReason
    failed_child: str | None = None


Goal = Boot | Restart | StartCall | StopCall | Abandon | ScaleCall | End


class Task(NamedTuple):
    """The plan of one task: the steps to come, and the children the current step waits for.

    ``errors`` gathers the unexpected exit reasons of a simple_one_for_one wave, reported in sum.
    """

    id: int
    goal: Goal
    steps: tuple[Step, ...]
    waiting: frozenset[str] = frozenset()
    errors: tuple[ExitReason, ...] = ()
