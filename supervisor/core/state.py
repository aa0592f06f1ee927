"""The state of a supervisor, and the draft in which one step is worked out.

State is a value: a step thaws it into a Draft, changes that, and freezes it again. The cost of a
step is a shallow copy of three dicts; nothing in a State is ever written to.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from supervisor.core.child import Child, Move
from supervisor.core.events import Action, Event
from supervisor.core.spec import Strategy, SupervisorSpec
from supervisor.core.task import Goal, Step, Task


class Phase(Enum):
    """Where a supervisor is in its life."""

    NEW = "new"
    BOOTING = "booting"
    RUNNING = "running"
    STOPPING = "stopping"
    DEAD = "dead"


class State(NamedTuple):
    """One supervisor. Made by ``machine.new``; to be treated as opaque but for ``observe``.

    ``children`` is in start order. ``mailbox`` holds events that wait for the whole supervisor,
    ``waiting`` those that wait for one child. ``numbers`` is the last incarnation or task number
    given out: one counter for the whole supervisor, so that an id that is deleted and added again
    never sees an incarnation twice.
    """

    spec: SupervisorSpec
    phase: Phase
    children: Mapping[str, Child]
    tasks: Mapping[int, Task]
    mailbox: tuple[Event, ...]
    waiting: Mapping[str, tuple[Event, ...]]
    restarts: tuple[int, ...]
    numbers: int
    seed: int


class Draft:
    """The working copy of one step: the fields of State, the actions so far, and the time."""

    __slots__ = (
        "actions",
        "children",
        "mailbox",
        "now",
        "numbers",
        "phase",
        "ready",
        "restarts",
        "seed",
        "spec",
        "tasks",
        "waiting",
    )

    def __init__(self, state: State, now: float) -> None:
        self.spec = state.spec
        self.phase = state.phase
        self.children: dict[str, Child] = dict(state.children)
        self.tasks: dict[int, Task] = dict(state.tasks)
        self.mailbox = state.mailbox
        self.waiting: dict[str, tuple[Event, ...]] = dict(state.waiting)
        self.restarts = state.restarts
        self.numbers = state.numbers
        self.seed = state.seed
        self.now = now
        self.actions: list[Action] = []
        self.ready: list[Event] = []  # events whose child was released within this step

    def freeze(self) -> State:
        """The state after the step."""
        return State(
            self.spec,
            self.phase,
            self.children,
            self.tasks,
            self.mailbox,
            self.waiting,
            self.restarts,
            self.numbers,
            self.seed,
        )

    def emit(self, *actions: Action) -> None:
        """Have the shell perform actions, in this order."""
        self.actions.extend(actions)

    def number(self) -> int:
        """A number never given out before."""
        self.numbers += 1
        return self.numbers

    @property
    def simple(self) -> bool:
        """Whether children are instances of one template."""
        return self.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE

    @property
    def grouped(self) -> bool:
        """Whether the exit of one child concerns others, so that tasks go one after the other."""
        return self.spec.strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)

    # --- children ------------------------------------------------------------------------------

    def change(self, child: Child, **fields: Any) -> Child:
        """Store a child with some fields changed."""
        changed = child._replace(**fields)
        self.children[child.id] = changed
        return changed

    def move(self, child: Child, move: Move, **fields: Any) -> Child:
        """Store a child after a move through the table, with some fields changed."""
        moved = self.children[child.id] = child.moved(move, **fields)
        return moved

    # --- tasks and what waits for them ---------------------------------------------------------

    def blocked(self) -> bool:
        """Whether the whole supervisor is at work: new decisions wait in the mailbox."""
        return self.phase is not Phase.RUNNING or (self.grouped and bool(self.tasks))

    def add_task(self, goal: Goal, steps: tuple[Step, ...]) -> int:
        """Add a task, to be set going by ``engine.advance``."""
        number = self.number()
        self.tasks[number] = Task(number, goal, steps)
        return number

    def end_task(self, task: int) -> None:
        """Forget a task. Its children were released as they were done."""
        del self.tasks[task]

    def release(self, child: Child) -> Child:
        """Take a child out of its task; what waited for it is served within this step."""
        released = self.change(child, task=None)
        self.ready.extend(self.waiting.pop(child.id, ()))
        return released

    def remove(self, child: Child) -> None:
        """Forget a child and its spec; what waited for it is served within this step."""
        self.children.pop(child.id, None)
        self.ready.extend(self.waiting.pop(child.id, ()))

    def park(self, event: Event, child: str | None = None) -> None:
        """Keep an event until the child, or the whole supervisor, is free."""
        if child is None:
            self.mailbox = (*self.mailbox, event)
        else:
            self.waiting[child] = (*self.waiting.get(child, ()), event)

    def next_ready(self) -> Event | None:
        """The next parked event that can be served now, if any."""
        if self.ready:
            return self.ready.pop(0)
        if self.mailbox and not self.blocked():
            event, self.mailbox = self.mailbox[0], self.mailbox[1:]
            return event
        return None
