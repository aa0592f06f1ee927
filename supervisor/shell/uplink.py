"""What a nested supervisor and its parent say to each other, over and above a worker's link.

Upwards: its own end, the state of its subtree, and the log pipes of its slots (the descriptors go
to root, which hands them to the pump). Downwards: commands, and new connections to a template
that had to be replaced.
"""

import msgspec

from supervisor.crashes.death import Death, Untold
from supervisor.definition import SupervisorDefinition
from supervisor.link import FromWorker, ToWorker
from supervisor.observe.snapshot import LastExit, WorkerStatus


class SupervisorRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one supervisor, without its children."""

    path: str
    state: str
    pid: int | None = None
    generation: int = 0
    started_at: float | None = None
    restarts: int = 0
    last_exit: LastExit | None = None
    left_behind: list[int] = []


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The nested supervisor ends, with this exit reason; all its children are gone.

    ``gave_up``: why, if its children could not be kept running.
    """

    kind: str
    cause: str
    gave_up: str = ""


class Statuses(msgspec.Struct, frozen=True, tag="statuses"):
    """What changed in the subtree.

    ``gone``: paths that are no more. ``restart_times``: by supervisor, the whole monotonic seconds
    of the restarts that count for its intensity, newest first.
    """

    workers: list[tuple[str, WorkerStatus]] = []
    supervisors: list[SupervisorRecord] = []
    gone: list[str] = []
    restart_times: dict[str, list[int]] = {}


class PipeUp(msgspec.Struct, frozen=True, tag="pipe_up"):
    """The read end of a slot's pipe is attached. ``stream``: "stdout" or "stderr"."""

    path: str
    stream: str


class PipesGone(msgspec.Struct, frozen=True, tag="pipes_gone"):
    """Nothing will be written any more to the pipes of this path and of all below it."""

    path: str


class ProcessUp(msgspec.Struct, frozen=True, tag="process_up"):
    """Who writes into a slot's pipes from now on. ``marked``: it says so there itself."""

    path: str
    pid: int
    incarnation: int
    marked: bool


class StartsWanted(msgspec.Struct, frozen=True, tag="starts_wanted"):
    """So many restarts wait below for tokens of the tree's budget (`supervisor.core.budget`)."""

    count: int


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """The outcome of a Command."""

    token: int
    ok: bool
    message: str
    code: str = ""


FromSupervisor = (
    FromWorker
    | Ended
    | Statuses
    | PipeUp
    | PipesGone
    | ProcessUp
    | StartsWanted
    | Answer
    | Death
    | Untold
)


class Command(msgspec.Struct, frozen=True, tag="command"):
    """A control command for something below.

    ``verb``: restart, stop, start, scale, log_level, trim, recycle, roll (the second half of a
    reload). A recycle has a ``cause``, may be ``stop_first``, and gives the old process
    ``patience`` seconds to end in.
    """

    token: int
    verb: str
    path: str
    count: int = 0
    level: str | None = None
    cause: str = ""
    stop_first: bool = False
    patience: float | None = None


class Adopt(msgspec.Struct, frozen=True, tag="adopt"):
    """Take over what a new release declares of a subtree; the first half of a reload.

    Args:
        definition: of the supervisor that is told.
        preload: whether the template of the release can fork.
        renew: whether all that runs the app's code is to be replaced, whatever its spec.

    """

    token: int
    definition: SupervisorDefinition
    preload: bool
    renew: bool


class TemplateConnection(msgspec.Struct, frozen=True, tag="template"):
    """A new connection to the template of that name is attached.

    ``code``: which version of the app the release's has imported.
    """

    name: str
    code: str = ""


class StartsGranted(msgspec.Struct, frozen=True, tag="starts_granted"):
    """Tokens for so many restarts."""

    count: int


ToSupervisor = ToWorker | Command | Adopt | TemplateConnection | StartsGranted
