"""What the core hears (events, requests) and what it wants done (actions): closed unions of data.

``step(state, event, now)`` takes one event and returns actions. Each process that the shell starts
for a child has an *incarnation*, a number that grows with each start of that child and never
repeats: whoever answers late names an incarnation that is no longer the child's, and is dropped.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from supervisor.core.exits import ExitReason
from supervisor.core.spec import ChildSpec

Ref = Hashable  # names one call; the shell chooses it and gets it back in Reply


class TimerKind(Enum):
    """What a timer of a child is for."""

    SHUTDOWN = "shutdown"  # the time a child has to stop
    START = "start"  # the time a child has to get ready
    BACKOFF = "backoff"  # the delay before the next start
    SOAK = "soak"  # the time a successor has to prove itself before it takes over


@dataclass(frozen=True, slots=True)
class Timer:
    """Names a timer. The incarnation makes a late firing harmless."""

    kind: TimerKind
    child: str
    incarnation: int


# --- requests: OTP's calls, and this project's additions -------------------------------------


@dataclass(frozen=True, slots=True)
class StartChild:
    """``start_child``: a child spec as a mapping (OTP's map), checked here.

    Under simple_one_for_one only ``id`` (the handle of the instance) and ``start`` are read.
    """

    spec: Any


class Handle(Enum):
    """What the shell knows of a name that may be the handle of a simple_one_for_one instance.

    OTP addresses instances by pid, and its answer about an unknown pid depends on whether a process
    has it. Only read when the supervisor has no such instance.
    """

    NONE = "none"  # not a handle, an id
    LIVE = "live"  # the handle of a live process of someone else
    DEAD = "dead"  # the handle of a process that has ended


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """``terminate_child(id)``."""

    child: str
    handle: Handle = Handle.NONE


@dataclass(frozen=True, slots=True)
class RestartChild:
    """``restart_child(id)``."""

    child: str


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """``delete_child(id)``."""

    child: str


@dataclass(frozen=True, slots=True)
class GetChildSpec:
    """``get_childspec(id)``."""

    child: str
    handle: Handle = Handle.NONE


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """``which_children``: newest first."""


@dataclass(frozen=True, slots=True)
class CountChildren:
    """``count_children``."""


@dataclass(frozen=True, slots=True)
class ChangeSpec:
    """OTP's code_change: new flags and specs (a mapping), or None for "no change"."""

    spec: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Scale:
    """Addition: make the slots of a ``count`` child N; new ones go after the last slot."""

    pool: str
    count: int


@dataclass(frozen=True, slots=True)
class Recycle:
    """Addition: replace a running child, the new process being ready before the old one stops.

    Never counts for intensity. A successor that fails to start, or within ``soak`` seconds after,
    leaves the old process in place. ``patience``: seconds that the old one has to end in, if not
    the spec's ``shutdown``.
    """

    child: str
    reason: str
    soak: float = 0.0
    patience: float | None = None


Request = (
    StartChild
    | TerminateChild
    | RestartChild
    | DeleteChild
    | GetChildSpec
    | WhichChildren
    | CountChildren
    | ChangeSpec
    | Scale
    | Recycle
)


# --- events ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Boot:
    """Start the supervisor: its children, in order."""


@dataclass(frozen=True, slots=True)
class Started:
    """A start succeeded: the child is ready."""

    child: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class StartIgnored:
    """The child declined to start (OTP's ``ignore``); nothing is running."""

    child: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A start failed; nothing is left running."""

    child: str
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Exited:
    """A process that had been ready has ended.

    ``blameless``: the machinery under it failed, not the child (its template died): it is treated
    by its restart type as always, but does not count for intensity. An addition, off in OTP.
    """

    child: str
    incarnation: int
    reason: ExitReason
    blameless: bool = False


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer set by SetTimer is due."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Retry:
    """The supervisor's message to itself: try the failed restart of a child again."""

    child: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Call:
    """A synchronous request; answered by one Reply with the same ref."""

    ref: Ref
    request: Request


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The parent asks the supervisor to end; its own exit reason will be ``reason``.

    Also cancels a start-up under way (an addition: in OTP it waits until init is done).
    """

    reason: ExitReason


Event = Boot | Started | StartIgnored | StartFailed | Exited | TimerFired | Retry | Call | Shutdown


# --- actions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process for this child; answer with Started, StartIgnored or StartFailed.

    ``wanted``: somebody has asked for it; it is not what follows from a failure.
    """

    child: str
    incarnation: int
    spec: ChildSpec
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask a process to shut down (``exit(Pid, shutdown)``); answer with Exited when it is gone.

    Of a process that is still starting: the answer is StartFailed (or Exited, if both crossed).
    """

    child: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a process without asking; its answer is as for Stop. ``cause`` goes to the report."""

    child: str
    incarnation: int
    cause: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send TimerFired(timer) in ``delay`` seconds."""

    timer: Timer
    delay: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """The timer is not needed any more."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call."""

    ref: Ref
    value: Any


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Put an event at the end of the supervisor's mailbox, behind what is waiting there."""

    event: Event


class ReportContext(Enum):
    """When OTP's supervisor writes a report."""

    CHILD_TERMINATED = "child_terminated"
    START_ERROR = "start_error"
    SHUTDOWN_ERROR = "shutdown_error"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Report:
    """A supervisor report (OTP, "SUPERVISOR REPORT"). ``count``: summed up under simple."""

    context: ReportContext
    child: str
    reason: ExitReason
    count: int = 1


@dataclass(frozen=True, slots=True)
class Up:
    """Every child is started: the supervisor's own start has succeeded."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Every child is gone: the supervisor ends.

    ``reason`` is its exit reason; ``failed_child`` names the child whose start failed when the
    supervisor never came up.
    """

    reason: ExitReason
    failed_child: str | None = None


Action = Start | Stop | Kill | SetTimer | CancelTimer | Reply | Enqueue | Report | Up | Quit
