"""What the user asked for on the command line of `supervisor run`."""

from dataclasses import dataclass, field

from supervisor.core.budget import BURST, RATE
from supervisor.definition import LogsDefinition

#: Where health is served unless the user says otherwise (9100 would be node_exporter's).
DEFAULT_HEALTH = ("127.0.0.1", 4370)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of one run.

    ``app`` is "module:attribute"; ``app_args`` becomes ``sys.argv[1:]`` of the process that imports
    it, so that a module can read them with argparse or click when it builds its tree.
    ``log_format`` None: "pretty" on a terminal, "json" otherwise. ``logs``: what was
    said of logs: it goes before what the tree declares. ``health`` None: not served;
    ``health_required``: the app does not run when it cannot be served there.
    ``spares``: processes that each supervisor keeps forked ahead of a restart (0: fork on demand).
    ``restart_burst`` and ``restart_rate`` (per second) bound the restarts of the whole tree, as
    `supervisor.core.budget` says; the burst is at least two for each slot.
    ``runtime_dir`` stands for $SUPERVISOR_RUNTIME_DIR. ``state``: where durable queues are kept;
    None: by the app's name, see `state_dir`. ``core_files``: how many are kept in the
    directories that workers run in, the newest; 0: all. ``debug``: tracebacks of the runtime too.
    """

    app: str
    name: str | None = None
    health: tuple[str, int] | None = DEFAULT_HEALTH
    health_required: bool = False
    log_format: str | None = None
    debug: bool = False
    runtime_dir: str | None = None
    state: str | None = None
    spares: int = 2
    restart_burst: int = BURST
    restart_rate: float = RATE
    core_files: int = 5
    app_args: tuple[str, ...] = ()
    logs: LogsDefinition = field(default_factory=LogsDefinition)
