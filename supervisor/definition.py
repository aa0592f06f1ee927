"""A checked tree as data: what the process that imported the app tells root about it.

Root never imports the author's code. The template of a release imports it, checks it with
`define`, and sends these structs (msgpack). Targets stay behind: a worker finds its own again by
its path in the tree.
"""

import msgspec

from supervisor.core.thresholds import Limits


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process attributes of a child, applied between fork and the author's code."""

    env: dict[str, str | None] = {}
    cwd: str | None = None
    user: str | int | None = None
    group: str | int | None = None
    umask: int = 0o077
    nice: int = 0
    rlimits: dict[str, tuple[int, int]] = {}
    cpu_affinity: list[int] | None = None
    private_tmp: bool = False


class ChildDefinition(msgspec.Struct, frozen=True, tag="child", omit_defaults=True):
    """One Child, checked. ``shutdown``: seconds, inf, or None for brutal_kill."""

    name: str
    where: str
    target: str  # for people: "shop.workers:Charge", or the command line
    arguments: int = 0  # a checksum of what the target is called with, to see that it has changed
    command: list[str] | None = None
    restart: str = "permanent"
    shutdown: float | None = 5.0
    significant: bool = False
    count: int = 1
    queue: str | None = None
    settings: Settings = Settings()
    ready: str = "init"
    stop_signal: int = 15
    start_timeout: float = 30.0
    heartbeat: float | None = None
    stall_timeout: float | None = None
    backoff: tuple[float, float] | None = None
    give_up_after: int | None = None
    preload: bool = True
    limits: Limits = Limits()


class QueueDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Queue, checked. Durations are seconds; ``rate``s are (messages a second, burst)."""

    name: str
    where: str = ""
    capacity: int = 1000
    max_bytes: int = 64 << 20
    overflow: str = "block"
    max_attempts: int = 5
    lease: float | None = 1800.0
    ack: str = "late"
    retry_backoff: tuple[float, float] = (0.1, 60.0)
    retry_budget: float | None = 0.1
    ttl: float | None = None
    on_expired: str = "dead"
    priorities: int = 1
    fair_by: str | None = None
    dedupe_by: str | None = None
    dedupe_window: float = 300.0
    rate: tuple[float, float] | None = None
    rate_per_key: tuple[float, float] | None = None
    durable: str = ""  # "", "process" or "full"
    serializer: str = "msgspec"
    max_dead: int = 1000
    dead_ttl: float | None = None


class RecyclerDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Recycler, checked. ``path`` None: it is a function of the author's."""

    name: str
    where: str = ""
    path: str | None = None
    max_age: float | None = None
    max_bytes: int | None = None
    max_files: int | None = None
    every: float = 300.0
    deadline: float = 60.0


class LogsDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """How logs are kept, checked. None: nothing was said of it. Bytes and seconds.

    ``rate``: lines of a stream in 30 s; 0: no limit. ``level``: "DEBUG" and so on.
    """

    directory: str | None = None
    files: bool | None = None
    max_use: int | None = None
    keep_free: int | None = None
    segment: int | None = None
    retention: float | None = None
    rate: float | None = None
    format: str | None = None
    compress: bool | None = None
    level: str | None = None


class SupervisorDefinition(msgspec.Struct, frozen=True, tag="supervisor", omit_defaults=True):
    """One Supervisor, checked, with everything below it."""

    name: str
    where: str = ""
    children: "list[ChildDefinition | SupervisorDefinition]" = []
    strategy: str = "one_for_one"
    intensity: int = 3
    period: int = 5
    auto_shutdown: str = "never"
    queues: list[QueueDefinition] = []
    restart: str = "permanent"
    shutdown: float | None = 5.0
    significant: bool = False
    start_timeout: float | None = None
    memory_budget: int | None = None
    surge_reserve: int | None = None
    max_concurrent_recycles: int | None = None
    recycle_spacing: float | None = None
    template_max_age: float = 7 * 86_400.0
    template_growth: float = 0.2
    recyclers: list[RecyclerDefinition] = []
    logs: LogsDefinition = LogsDefinition()


def placeless(definition: SupervisorDefinition) -> SupervisorDefinition:
    """Leave out where in the source things are declared, which is not what they are."""
    replace = msgspec.structs.replace
    return replace(
        definition,
        where="",
        children=[
            placeless(child)
            if isinstance(child, SupervisorDefinition)
            else replace(child, where="")
            for child in definition.children
        ],
        queues=[replace(queue, where="") for queue in definition.queues],
        recyclers=[replace(recycler, where="") for recycler in definition.recyclers],
    )
