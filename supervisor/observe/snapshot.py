"""The state of a whole tree at one moment: what `status`, `tree` and the health page are made of.

Root keeps it up to date from what supervisors report, and answers a request for it at once, even
when a nested supervisor does not answer any more. Times are Unix seconds; durations are seconds.
"""

import msgspec

from supervisor.caches import CacheFacts

#: What the broker says of one queue: name, depth, capacity, oldest_age_s, blocked, dead ...
QueueFacts = dict[str, int | float | str | bool]


class LastExit(msgspec.Struct, frozen=True):
    """The last end of a process: why, when, and what it has used from its start to its end."""

    cause: str  # "signal:SIGSEGV", "exit:1", "exception:ValueError", "heartbeat", "shutdown" ...
    at: float
    exit_code: int | None = None
    signal: str | None = None
    detail: str = ""  # the last line of the traceback, if there was one
    user_seconds: float | None = None  # of processor time, in its own code; None: not known
    system_seconds: float | None = None  # and in the kernel
    max_rss_bytes: int | None = None  # the most that was resident at once, shared pages included
    incarnation: int = 0  # which process of its slot it was; 0: not known
    crash_report: str | None = None  # its id, where whoever shows this has looked it up


class WorkerStatus(msgspec.Struct, frozen=True):
    """One slot.

    ``state``: starting, ready, suspended, stopping, restarting, stopped, unkillable.
    """

    path: str
    slot: int
    state: str
    pid: int | None = None
    generation: int = 0  # the incarnation number
    started_at: float | None = None
    ready_at: float | None = None
    restarts: int = 0
    heartbeat_at: float | None = None
    progress: int = 0  # messages or steps the work loop has counted
    last_exit: LastExit | None = None
    restart_at: float | None = None  # when a backoff ends
    failure_score: float = 0.0  # decays: as it was at started_at (`supervisor.core.flapping`)
    recycling: bool = False  # a replacement is on its way
    recycles: int = 0  # planned replacements so far
    capacity_lost: float = 0.0  # worker-seconds without a ready process, while one was wanted
    capacity_lost_since: float | None = None  # since when there is none
    caches: list[CacheFacts] = []  # of the process, as it has said
    left_behind: list[int] = []  # pids of earlier processes that could not be killed, and are there
    screen: int = 0  # bytes resident and not of files, when it got ready; 0: not known


class ChildStatus(msgspec.Struct, frozen=True, tag="child"):
    """One Child with its slots. ``kind``: "worker" for one slot, "pool" for several."""

    path: str
    kind: str
    restart: str
    target: str
    count: int
    ready: int
    workers: list[WorkerStatus]
    queue: str | None = None
    significant: bool = False


class SupervisorStatus(msgspec.Struct, frozen=True, tag="supervisor"):
    """One supervisor. ``state``: as for a worker; ``ready`` when all its children were started."""

    path: str
    state: str
    strategy: str
    restart: str
    intensity: int
    period: int
    restarts_in_period: int
    children: "list[ChildStatus | SupervisorStatus]"
    pid: int | None = None
    generation: int = 0
    started_at: float | None = None
    restarts: int = 0
    last_exit: LastExit | None = None
    left_behind: list[int] = []  # as of a worker
    significant: bool = False


class TemplateStatus(msgspec.Struct, frozen=True):
    """One template process of the release. ``state``: loading, serving, lingering.

    ``processes`` that it is the parent of: workers, and connections of nested supervisors.
    ``code``: which version of the app it has (`supervisor.process.code`); "": not known.
    """

    name: str
    pid: int
    state: str
    age: float  # seconds
    processes: int = 0
    code: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """A whole app. ``phase``: starting, running, stopping."""

    name: str
    app: str
    phase: str
    pid: int
    run_id: str
    version: str
    time: float
    started_at: float
    tree: SupervisorStatus
    services: list[WorkerStatus]  # pump, broker, observer
    loop_longest_pass: float = 0.0
    queues: list[QueueFacts] = []
    health_address: str | None = None
    templates: list[TemplateStatus] = []
    reloading: bool = False  # its code is being replaced
    out_of_descriptors_at: float | None = None  # when root had only its reserve left, last
    state_dir: str = ""  # where durable queues are; "": there are none
