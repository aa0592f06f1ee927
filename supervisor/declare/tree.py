"""What an author writes: Supervisor, Child and Queue, as plain declarations.

Nothing is checked or imported here, so that importing a worker module stays cheap and the order
of definitions does not matter: `supervisor.definition` checks a whole tree at once and names the
file and line that each declaration remembers.

All durations are float seconds; sizes are bytes or strings such as "200MiB".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from supervisor.declare.logs import Logs
from supervisor.declare.recycler import Recycler
from supervisor.errors import place_of_caller


class Queue:
    """A bounded queue that feeds workers, and has one broker process between them.

    Args:
        name: `[a-z0-9][a-z0-9_-]{0,62}`, unique in the app.
        capacity: messages it holds at most, leased ones included (default 1000).
        max_bytes: payload bytes it holds at most, and its dead letters too (default 64 MiB).
        overflow: what becomes of a put that does not fit: "block" (default: the producer waits),
            "reject" (QueueFull at once), "drop_oldest" (of what nobody works on; counted), or
            "shed" (as "reject", and also what would miss its deadline: see `ttl`).
        max_attempts: deliveries of one message before it is a dead letter (default 5).
        lease: seconds without progress after which what a consumer has is given to another one
            (default 1800: half an hour); a handler that takes longer calls `extend`. None: never,
            when a `heartbeat` of the child ends what is stuck.
        ack: "late" (default: a message is settled when its handler has returned, at least once) or
            "early" (before it is handled: at most once).
        retry_backoff: (base, cap) in seconds: how long a message waits that a handler asks to try
            again, doubling, with full jitter (default (0.1, 60.0)).
        retry_budget: such retries per first delivery, beside ten a second (default 0.1); None: as
            many as fail.
        ttl: seconds until a message expires that nobody has taken (default None: never).
        on_expired: "dead" (default: it is a dead letter) or "drop" (it is counted).
        priorities: levels of priority, 1 to 10 (default 1: none). Higher ones go first, always.
        fair_by: field of a message whose values take turns, so that a flood under one value does
            not hold up another (default None: one line for all).
        dedupe_by: field of a message by which it is recognised when it is put again.
        dedupe_window: seconds for which it is (default 300).
        rate: messages a second that are delivered at most, or (messages a second, burst); what is
            put waits (default None).
        rate_per_key: the same for each value of `fair_by`.
        durable: False (default: what is in it ends with the broker), True (kept in SQLite, survives
            loss of power), or "process" (survives the end of every process, not loss of power).
        serializer: "msgspec" (default), "bytes" or "pickle" (which runs code of whoever can put).
        max_dead: dead letters that it keeps (default 1000); full, they hold the queue up.
        dead_ttl: seconds after which a dead letter is discarded (default None: never).

    """

    def __init__(
        self,
        name: str,
        capacity: int = 1000,
        *,
        max_bytes: int | str = "64MiB",
        overflow: str = "block",
        max_attempts: int = 5,
        lease: float | None = 1800.0,
        ack: str = "late",
        retry_backoff: tuple[float, float] = (0.1, 60.0),
        retry_budget: float | None = 0.1,
        ttl: float | None = None,
        on_expired: str = "dead",
        priorities: int = 1,
        fair_by: str | None = None,
        dedupe_by: str | None = None,
        dedupe_window: float = 300.0,
        rate: float | tuple[float, float] | None = None,
        rate_per_key: float | tuple[float, float] | None = None,
        durable: bool | str = False,
        serializer: str = "msgspec",
        max_dead: int = 1000,
        dead_ttl: float | None = None,
    ) -> None:
        self.name = name
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.overflow = overflow
        self.max_attempts = max_attempts
        self.lease = lease
        self.ack = ack
        self.retry_backoff = retry_backoff
        self.retry_budget = retry_budget
        self.ttl = ttl
        self.on_expired = on_expired
        self.priorities = priorities
        self.fair_by = fair_by
        self.dedupe_by = dedupe_by
        self.dedupe_window = dedupe_window
        self.rate = rate
        self.rate_per_key = rate_per_key
        self.durable = durable
        self.serializer = serializer
        self.max_dead = max_dead
        self.dead_ttl = dead_ttl
        self.where = place_of_caller()


class Child:
    """One child of a supervisor: a worker, or `count` slots of it.

    Args:
        name: `[a-z0-9][a-z0-9_-]{0,62}`, unique among its siblings.
        target: a Worker class or instance, any callable (sync or ``async def``), or
            "module:function". Exactly one of `target` and `command`.
        command: argv of a program to exec (never a shell).
        restart: "permanent" (default), "transient" or "temporary" (OTP).
        shutdown: seconds between the request to stop and SIGKILL (default 5.0), "infinity", or
            "brutal_kill".
        significant: its normal end counts for the supervisor's `auto_shutdown` (default False).
        count: slots (default 1); each is started and restarted on its own.
        queue: the Queue (or its name) that a Consumer reads and a Producer writes.
        args: positional arguments for the target (default none).
        env: variables added to the environment; a value None removes one.
        cwd: working directory (default: root's).
        user, group: names or ids to run as (root only; verified after the drop).
        umask: default 0o077.
        nice: added niceness (default 0).
        rlimits: {"nofile": 1024, ...}: soft and hard limit, or a (soft, hard) pair.
        cpu_affinity: processors it may run on.
        private_tmp: its processes have a temp directory (``TMPDIR``) each, removed after their end
            (default None: yes, unless they run as another `user`); False: the system's.
        ready: when it counts as started: "init" (its init returned; a plain callable: when it is
            called), "tcp:PORT" (127.0.0.1:PORT accepts), "notify" (sd_notify READY=1, or
            `supervisor.link.ready()`), "exec" (the program was executed; default for commands).
        stop_signal: sent with the request to stop (default "SIGTERM").
        start_timeout: seconds to get ready (default 30.0).
        heartbeat: seconds of silence of the work loop after which it is stuck (default None: off).
        stall_timeout: seconds without progress, while there is work, after which it is killed and
            started again (default None: off). A Consumer has work while it handles a message; other
            work loops say what they have done, and whether they wait, with `link.beat`.
        backoff: None (default: restart at once, as OTP), or (base, cap) in seconds: exponential
            with full jitter from the second failure in a row.
        give_up_after: failures in a row, none of them after a run as long as the supervisor's
            period, after which the supervisor gives up as when its intensity is exceeded (default
            None: off). For children with `backoff`, which may fail too slowly for the intensity.
        preload: start from the process that has the app imported (default True); False imports
            the app afresh in each worker. So do all workers of an app that starts threads or leaves
            files or sockets open when it is imported: a fork cannot have them.
        memory_soft: private bytes (or "200MiB") above which a worker is asked to give back what it
            can, and then recycled: its successor is ready before it goes (default None: 0.6 times
            `memory_hard`). What is shared with other workers never counts.
        memory_hard: private bytes above which it is recycled at once (default None: 1.5 even
            shares of the tree's `memory_budget`, at least 192 MiB and 3 times what it has when
            fresh).
        max_age: seconds after which it is recycled (default 86400.0; "infinity": never). Of these
            limits, none is set automatically for a command or a child that is not permanent.
        max_messages: messages (steps of its work loop) after which it is (default 0: never).
        max_fds, max_threads: open descriptors and threads above which it is (default None: 80 % of
            its limit of descriptors, 8 times the threads that it has when fresh).
        max_temp: bytes (or "1GiB") of files in its temp directory above which it is, and the
            directory goes with it (default None: no limit).
        min_lifetime: seconds before which nothing of this but `memory_hard` recycles it (60.0).
        trim: try the gentle step first: cache-shrink hooks, ``gc.collect()``, ``malloc_trim``
            (default True).

    """

    def __init__(
        self,
        name: str,
        target: Callable[..., Any] | type | str | object | None = None,
        *,
        command: Sequence[str] | None = None,
        restart: str = "permanent",
        shutdown: float | str = 5.0,
        significant: bool = False,
        count: int = 1,
        queue: Queue | str | None = None,
        args: Sequence[Any] = (),
        env: Mapping[str, str | None] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        umask: int = 0o077,
        nice: int = 0,
        rlimits: Mapping[str, int | tuple[int, int]] | None = None,
        cpu_affinity: Sequence[int] | None = None,
        private_tmp: bool | None = None,
        ready: str | None = None,
        stop_signal: str = "SIGTERM",
        start_timeout: float = 30.0,
        heartbeat: float | None = None,
        stall_timeout: float | None = None,
        backoff: tuple[float, float] | None = None,
        give_up_after: int | None = None,
        preload: bool = True,
        memory_soft: int | str | None = None,
        memory_hard: int | str | None = None,
        max_age: float | str | None = None,
        max_messages: int = 0,
        max_fds: int | None = None,
        max_threads: int | None = None,
        max_temp: int | str | None = None,
        min_lifetime: float = 60.0,
        trim: bool = True,
    ) -> None:
        self.name = name
        self.target = target
        self.command = command
        self.restart = restart
        self.shutdown = shutdown
        self.significant = significant
        self.count = count
        self.queue = queue
        self.args = args
        self.env = env
        self.cwd = cwd
        self.user = user
        self.group = group
        self.umask = umask
        self.nice = nice
        self.rlimits = rlimits
        self.cpu_affinity = cpu_affinity
        self.private_tmp = private_tmp
        self.ready = ready
        self.stop_signal = stop_signal
        self.start_timeout = start_timeout
        self.heartbeat = heartbeat
        self.stall_timeout = stall_timeout
        self.backoff = backoff
        self.give_up_after = give_up_after
        self.preload = preload
        self.memory_soft = memory_soft
        self.memory_hard = memory_hard
        self.max_age = max_age
        self.max_messages = max_messages
        self.max_fds = max_fds
        self.max_threads = max_threads
        self.max_temp = max_temp
        self.min_lifetime = min_lifetime
        self.trim = trim
        self.where = place_of_caller()


class Supervisor:
    """A supervisor and its children: the root of an app, or a child of another supervisor.

    Args:
        name: `[a-z0-9][a-z0-9_-]{0,62}`.
        children: Child and Supervisor declarations, in start order (stopped in reverse).
        strategy: "one_for_one" (default), "one_for_all" or "rest_for_one" (OTP).
        intensity: restarts allowed within `period`; one more ends the supervisor (default 3).
        period: whole seconds (default 5).
        auto_shutdown: "never" (default), "any_significant" or "all_significant" (OTP).
        queues: the app's queues (only on the root).
        restart, shutdown, significant, start_timeout: as for a Child, when nested; a nested
            supervisor's default shutdown is "infinity", its default start_timeout none.
        recyclers: what keeps the app's directories and tables within limits (only on the root).
        memory_budget: private bytes (or "2GiB") of the whole app, the runtime included (only on
            the root; default None: 80 % of what the machine, or the cgroup, has).
        surge_reserve: bytes (or "1GiB") that must stay available when a replacement starts beside
            the old process (only on the root; default None: 5 % of what there is, at least
            256 MiB).
        max_concurrent_recycles: replacements at a time in the whole app (only on the root; default
            None: one for ten workers).
        recycle_spacing: seconds between the starts of two replacements (only on the root; default
            None: what a start takes, at least 1.0).
        template_max_age: seconds after which another process takes over from the template that
            workers are forked from (only on the root; default 604800.0; "infinity": never).
        template_growth: the part of its own fresh size, and at least 8 MiB, by which a template
            may grow before that (only on the root; default 0.2; "infinity": without limit).
        logs: how log lines are kept and printed, a Logs (only on the root); what is said to
            `supervisor run` goes before it.

    """

    def __init__(
        self,
        name: str,
        children: Sequence["Child | Supervisor"] = (),
        *,
        strategy: str = "one_for_one",
        intensity: int = 3,
        period: int = 5,
        auto_shutdown: str = "never",
        queues: Sequence[Queue] = (),
        restart: str = "permanent",
        shutdown: float | str = "infinity",
        significant: bool = False,
        start_timeout: float | None = None,
        memory_budget: int | str | None = None,
        surge_reserve: int | str | None = None,
        max_concurrent_recycles: int | None = None,
        recycle_spacing: float | None = None,
        template_max_age: float | str | None = None,
        template_growth: float | str | None = None,
        recyclers: Sequence[Recycler] = (),
        logs: Logs | None = None,
    ) -> None:
        self.name = name
        self.children = children
        self.strategy = strategy
        self.intensity = intensity
        self.period = period
        self.auto_shutdown = auto_shutdown
        self.queues = queues
        self.restart = restart
        self.shutdown = shutdown
        self.significant = significant
        self.start_timeout = start_timeout
        self.memory_budget = memory_budget
        self.surge_reserve = surge_reserve
        self.max_concurrent_recycles = max_concurrent_recycles
        self.recycle_spacing = recycle_spacing
        self.template_max_age = template_max_age
        self.template_growth = template_growth
        self.recyclers = recyclers
        self.logs = logs
        self.where = place_of_caller()
