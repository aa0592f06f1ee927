"""One child: its record, its states, and the table of moves between them.

    UNDEFINED --start--> STARTING --up--> RUNNING --exit--> EXITED --start--> STARTING
        ^                   |                |                |
        |                 retry             stop            delay
        |                   v                v                v
        +------drop---- RESTARTING       STOPPING         RESTARTING

A child has at most one process, and two only while it is recycled: ``other`` is then the successor
that is still starting, or the predecessor that is still stopping.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from supervisor.core.events import Ref
from supervisor.core.exits import ExitReason
from supervisor.core.spec import ChildSpec

HISTORY = 8  # moves of a child that are kept for the message of IllegalMoveError


class ChildState(Enum):
    """Where a child is in its life."""

    __hash__ = object.__hash__  # Enum's is a call of Python's, in every look at `MOVES`

    UNDEFINED = "undefined"  # the spec is kept, there is no process
    STARTING = "starting"  # a process is getting ready
    RUNNING = "running"
    EXITED = "exited"  # its process ended and nothing was decided yet
    STOPPING = "stopping"  # asked or forced to end
    RESTARTING = "restarting"  # a start failed or is delayed; a Retry or a backoff timer is due


class Move(Enum):
    """What moves a child from one state to another."""

    __hash__ = object.__hash__

    START = "start"
    UP = "up"
    IGNORE = "ignore"
    FAIL = "fail"
    RETRY = "retry"
    EXIT = "exit"
    DELAY = "delay"
    STOP = "stop"
    GONE = "gone"
    DROP = "drop"
    SUCCEED = "succeed"  # the successor under way becomes the process of the child


MOVES: dict[ChildState, dict[Move, ChildState]] = {
    ChildState.UNDEFINED: {Move.START: ChildState.STARTING},
    ChildState.STARTING: {
        Move.UP: ChildState.RUNNING,
        Move.IGNORE: ChildState.UNDEFINED,
        Move.FAIL: ChildState.UNDEFINED,
        Move.RETRY: ChildState.RESTARTING,
        Move.STOP: ChildState.STOPPING,
    },
    ChildState.RUNNING: {Move.EXIT: ChildState.EXITED, Move.STOP: ChildState.STOPPING},
    ChildState.EXITED: {
        Move.START: ChildState.STARTING,
        Move.SUCCEED: ChildState.STARTING,
        Move.DELAY: ChildState.RESTARTING,
        Move.STOP: ChildState.STOPPING,
        Move.DROP: ChildState.UNDEFINED,
    },
    ChildState.STOPPING: {Move.GONE: ChildState.UNDEFINED},
    ChildState.RESTARTING: {
        Move.START: ChildState.STARTING,
        Move.DROP: ChildState.UNDEFINED,
    },
}


class Role(Enum):
    """What the second process of a recycled child is."""

    SUCCESSOR = "successor"  # starting; takes over when it is ready
    READY = "ready"  # up; it soaks, or the end of the old one was not dealt with yet
    RETIRING = "retiring"  # the predecessor, being stopped


@dataclass(frozen=True, slots=True)
class Other:
    """The second process of a child that is being recycled, and the call that waits for it.

    ``ref`` is None when nobody waits any more. ``soak``, ``patience``: as the call has them.
    """

    incarnation: int
    role: Role
    ref: Ref | None
    soak: float = 0.0
    patience: float | None = None


class IllegalMoveError(Exception):
    """The shell reported what cannot be: a bug in the shell or in the core."""

    def __init__(self, child: "Child", what: str) -> None:
        story = " -> ".join(move.value for move in child.history) or "nothing yet"
        super().__init__(
            f"child {child.spec.id!r} (incarnation {child.incarnation}) is {child.state.value}, "
            f"where {what!r} cannot happen; before: {story}"
        )


class Child(NamedTuple):
    """What a supervisor knows of one child.

    ``incarnation`` is that of its process, or of its last one. ``reason`` says why the process
    ended while that is not yet dealt with. ``task`` is the task that works on it, if any.
    ``failures`` counts consecutive failures for backoff, until terminate_child; ``up_at`` is in
    seconds, of Started. A tuple, not a dataclass: every restart changes it four times, and somebody
    waits for that.
    """

    spec: ChildSpec
    state: ChildState = ChildState.UNDEFINED
    incarnation: int = 0
    task: int | None = None
    reason: ExitReason | None = None
    blameless: bool = False
    other: Other | None = None
    restarts: int = 0
    failures: int = 0
    up_at: float = 0.0
    history: tuple[Move, ...] = ()

    @property
    def id(self) -> str:
        """The id of its spec."""
        return self.spec.id

    def moved(self, move: Move, **fields: Any) -> "Child":
        """The child after a move, with some fields changed.

        Raises:
            IllegalMoveError: the table has no such move from the state it is in.
        """
        target = MOVES[self.state].get(move)
        if target is None:
            raise IllegalMoveError(self, move.value)
        history = (*self.history[1 - HISTORY :], move)
        return self._replace(state=target, history=history, **fields)
