"""The runtime's own processes: which there are, and what each is given.

    runtime (one_for_one)
    ├─ pump       writes every process's log lines
    ├─ broker     the queues, if the tree has any
    ├─ observer   the health page, if it is wanted
    ├─ arbiter    watches what workers have, and has them recycled
    └─ janitor    runs the recyclers: the author's, and those of what dead workers leave behind;
                  writes the crash reports

They start before the tree and stop after it, the pump last, so that no line is lost. Root makes
and keeps the sockets on which broker and observer listen: a restart of either loses nobody.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator

import msgspec

from supervisor.config import RunOptions
from supervisor.control.runtime_dir import QUEUES_SOCKET, SOCKET
from supervisor.core.events import (
    Boot,
    ChangeSpec,
    DeleteChild,
    RestartChild,
    Shutdown,
    TerminateChild,
)
from supervisor.core.exits import SHUTDOWN, ExitReason
from supervisor.crashes import place as crash_place
from supervisor.crashes.feed import Feed
from supervisor.definition import QueueDefinition, SupervisorDefinition
from supervisor.errors import DefinitionError
from supervisor.link import DirectoryMade
from supervisor.logs import ledger, place
from supervisor.logs.messages import FileOptions, PumpOptions
from supervisor.logs.sources import LogSources
from supervisor.process import tempdir
from supervisor.root.state_dir import prepare, state_dir
from supervisor.shell.actor import Actor
from supervisor.shell.plan import Service, as_mapping, services_spec
from supervisor.shell.reports import write
from supervisor.shell.service_process import ServiceProcess
from supervisor.shell.surroundings import Shell

#: Connections that may wait while the broker or the observer is being restarted.
BACKLOG = 512
#: What is told of the whole tree at its start, or has the app imported.
WATCHERS = ("arbiter", "janitor")
#: Who keeps files in the runtime directory for others to read.
WRITERS = ("pump", *WATCHERS)
#: Seconds between two questions whether one of them is to be nudged; far less than a nudge is good
#: for (`supervisor.shell.service_process.NUDGE_EVERY`).
NUDGES = 1.0


class Services:
    """The runtime's own processes of one app, and the sockets and pipes kept for them."""

    def __init__(self) -> None:
        self.sources = LogSources(self._to_pump)
        self._actor: Actor | None = None
        self._plan: list[Service] = []
        self._core_files = 0
        self._queues: socket.socket | None = None
        self._door = -1  # what workers connect to the broker by
        self._log_directory: str | None = None
        self._health: socket.socket | None = None
        self._nudge_at: dict[str, float] = {}  # monotonic seconds, at the earliest
        self.state_dir = ""  # of the durable queues, if there are any
        self._ledger = ledger.descriptors()  # what outlives a pump
        self.deaths = Feed()  # what is told of them
        self._crashes: str | None = None  # where the reports of them are

    @property
    def queues_path(self) -> str | None:
        """Where the broker listens; None without one."""
        return None if self._queues is None else str(self._queues.getsockname())

    @property
    def health_address(self) -> str | None:
        """Where the observer serves, as "host:port"."""
        if self._health is None:
            return None
        host, port = self._health.getsockname()[:2]
        return f"{host}:{port}"

    def start(
        self,
        shell: Shell,
        options: RunOptions,
        definition: SupervisorDefinition,
        files: FileOptions | None,
        on_up: Callable[[], None],
        on_end: Callable[[ExitReason, str | None], None],
    ) -> None:
        """Start them all. ``files``: how log lines are kept; None: they are not.

        Raises:
            DefinitionError: the health address cannot be used; nothing was started.

        """
        plan = [pump_service(options.log_format, shell, files, self._ledger, self.sources.resend)]
        control = os.path.join(shell.runtime_dir, SOCKET)
        queues = definition.queues
        state = state_dir(options.name or os.path.basename(shell.runtime_dir), options.state)
        self._log_directory = None if files is None else files.directory
        place.point(shell.runtime_dir, self._log_directory)
        if options.health is not None:
            self._health = health_listener(options.health)
            plan.append(observer_service(options.name or "", control, self._health))
        if queues:
            self.state_dir = queue_state(queues, state)
            self._queues, self._door = queue_listener(shell.runtime_dir)
            shell.fds["queues"] = self._door
            broker = broker_service(queues, self._queues, self.state_dir, self.deaths.writer)
            plan.insert(1, broker)
        self._crashes = crash_place.prepare(state)
        crash_place.point(shell.runtime_dir, self._crashes)
        plan += self._watchers(shell, definition, options.core_files)
        self._plan, self._core_files = plan, options.core_files
        self._actor = Actor(
            shell,
            services_spec(plan),
            "runtime",
            on_up,
            on_end,
            lambda report: write(shell, "runtime", report),
        )
        self._actor.deliver(Boot())

    def reload(self, shell: Shell, definition: SupervisorDefinition) -> None:
        """Start those anew that are told of the tree, or run the author's functions."""
        assert self._actor is not None
        call, before = self._actor.call, {service.name for service in self._plan}
        others = [service for service in self._plan if service.name not in WATCHERS]
        self._plan = [*others, *self._watchers(shell, definition, self._core_files)]
        names = {service.name for service in self._plan}
        for name in before & set(WATCHERS):
            call(TerminateChild(name), _ignore)
        call(ChangeSpec(as_mapping(services_spec(self._plan))), _ignore)
        for name in before - names:
            call(DeleteChild(name), _ignore)
        for name in names & set(WATCHERS):
            call(RestartChild(name), _ignore)

    def restore(self, directory: str) -> None:
        """Put back what we have in the runtime directory, and others look for there.

        Who has written there is told to do it again.

        The broker's socket lives on without its file: workers have a descriptor of it. A link
        leads everybody else to that.
        """
        place.point(directory, self._log_directory)
        crash_place.point(directory, self._crashes)
        for name in WRITERS:
            self._tell(name, DirectoryMade())
        path = os.path.join(directory, QUEUES_SOCKET)
        if self._queues is not None and not os.path.lexists(path):
            os.symlink(f"/proc/{os.getpid()}/fd/{self._door}", path)

    def stirred(self) -> None:
        """Nudge who rests while the tree does: something has changed in it."""
        self._nudge("arbiter")

    def ended(self) -> None:
        """Nudge who removes what the dead leave behind: a process has ended."""
        self._nudge("janitor")

    def stop(self) -> None:
        """Stop them all, the pump last. Only once they were started."""
        assert self._actor is not None
        self._actor.deliver(Shutdown(SHUTDOWN))

    def _watchers(
        self, shell: Shell, definition: SupervisorDefinition, cores: int
    ) -> list[Service]:
        """Describe those that are told of the whole tree; ``cores``: core files that stay."""
        arbiter = arbiter_service(os.path.join(shell.runtime_dir, SOCKET), definition)
        return [arbiter, janitor_service(shell, definition, cores, self.deaths.reader)]

    def _to_pump(self, message: msgspec.Struct, fd: int | None) -> None:
        self._tell("pump", message, fd)

    def _tell(self, name: str, message: msgspec.Struct, fd: int | None = None) -> None:
        for process in self._running(name):
            process.send(message, fd)

    def _nudge(self, name: str) -> None:
        now = time.monotonic()
        if now >= self._nudge_at.get(name, 0.0):  # in a storm this is asked for thousands of times
            self._nudge_at[name] = now + NUDGES
            for process in self._running(name):
                process.nudge()

    def _running(self, name: str) -> Iterator[ServiceProcess]:
        if self._actor is not None:
            for (key, _), process in self._actor.processes.items():
                if key == name and isinstance(process, ServiceProcess):
                    yield process


def queue_listener(directory: str) -> tuple[socket.socket, int]:
    """Make the broker's socket; returns it and an O_PATH descriptor for the workers.

    A worker connects to /proc/self/fd/N of that descriptor: that works after it gave up its
    privileges, though the directory is closed to it, which is why the socket itself is open to all.
    """
    path = os.path.join(directory, QUEUES_SOCKET)
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o666)  # noqa: S103 - the directory is closed to others
    listener.listen(BACKLOG)
    return listener, os.open(path, os.O_PATH | os.O_CLOEXEC)


def health_listener(address: tuple[str, int]) -> socket.socket:
    """Make the observer's socket.

    Raises:
        DefinitionError: the address cannot be used.

    """
    host, port = address
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise DefinitionError(
            f"cannot serve health on {host}:{port}: {error.strerror}",
            help="choose another with --health HOST:PORT, or --no-health",
        ) from error
    listener.listen(BACKLOG)
    return listener


def pump_service(
    log_format: str | None,
    shell: Shell,
    files: FileOptions | None,
    kept: dict[str, int],
    announce: Callable[[], None],
) -> Service:
    """Describe the log pump; it prints on root's standard output.

    ``kept``: the descriptors that outlive it; ``announce`` tells a new pump of all the pipes.
    """
    pretty = log_format == "pretty" or (log_format is None and os.isatty(sys.stdout.fileno()))
    argument = PumpOptions(
        format=log_format or ("pretty" if pretty else "json"),
        colour=pretty and os.isatty(sys.stdout.fileno()) and not os.environ.get("NO_COLOR"),
        level=shell.log_level,
        files=files,
        directory=shell.runtime_dir,
    )
    fds = {"terminal": sys.stdout.fileno(), **kept}
    encoded = msgspec.msgpack.encode(argument)
    return Service("pump", "supervisor.logs.pump:main", encoded, fds, announce)


def _ignore(_result: object) -> None:
    """Of services, what fails is in the log."""


def arbiter_service(control: str, definition: SupervisorDefinition) -> Service:
    """Describe the arbiter."""
    told = {"control": control, "tree": definition, "temp": tempdir.base()}
    argument = msgspec.msgpack.encode(told)
    return Service("arbiter", "supervisor.recycling.arbiter:main", argument)


def janitor_service(
    shell: Shell, definition: SupervisorDefinition, cores: int, deaths: socket.socket
) -> Service:
    """Describe the janitor. It is forked where the app is if it calls functions of the author's.

    ``deaths``: where it hears of them.
    """
    argument = {
        "app": shell.app,
        "directory": shell.runtime_dir,
        "recyclers": definition.recyclers,
        "temp": tempdir.base(),
        "cwds": sorted(map(os.fsencode, {*own_directory(), *directories(definition)})),
        "cores": cores,
        "environments": dict(environments(definition, definition.name)),
    }
    encoded = msgspec.msgpack.encode(argument)
    calls = any(one.path is None for one in definition.recyclers)
    fds = {"deaths": deaths.fileno()}
    return Service("janitor", "supervisor.janitor.janitor:main", encoded, fds, needs_app=calls)


def own_directory() -> list[str]:
    """Return the directory that children run in if they were given none; none: it was removed."""
    try:
        return [os.getcwd()]
    except FileNotFoundError:  # by who has deployed a new release, say: no reason to end
        return []


def directories(definition: SupervisorDefinition) -> Iterator[str]:
    """List the directories that children run in, of those that were given one."""
    for child in definition.children:
        if isinstance(child, SupervisorDefinition):
            yield from directories(child)
        elif child.settings.cwd is not None:
            yield child.settings.cwd


def environments(
    definition: SupervisorDefinition, path: str
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """List the variables that children declare, by their paths: secrets are kept out of reports."""
    for child in definition.children:
        below = f"{path}/{child.name}"
        if isinstance(child, SupervisorDefinition):
            yield from environments(child, below)
        elif child.settings.env:
            yield below, child.settings.env


def queue_state(queues: list[QueueDefinition], state: str) -> str:
    """Make the state directory for durable queues, if there are any; return it, or an empty path.

    Raises:
        DefinitionError: there is no safe place for them.

    """
    return prepare(state) if any(queue.durable for queue in queues) else ""


def broker_service(
    queues: list[QueueDefinition], listener: socket.socket, state: str, deaths: socket.socket
) -> Service:
    """Describe the queue broker.

    ``state``: the directory of the durable queues; ``deaths``: where it tells of them. It is given
    memory that outlives it, for what is said to it and has to hold for the next one too.
    """
    argument = msgspec.msgpack.encode({"queues": queues, "state": state})
    standing = os.memfd_create("queues", os.MFD_CLOEXEC)
    os.pwrite(standing, bytes(len(queues)), 0)  # a broker without memory has this all the same
    fds = {"listener": listener.fileno(), "deaths": deaths.fileno(), "standing": standing}
    return Service("broker", "workers.queues.broker.broker:main", argument, fds)


def observer_service(name: str, control: str, listener: socket.socket) -> Service:
    """Describe the health observer."""
    host, port = listener.getsockname()[:2]
    argument = msgspec.msgpack.encode(
        {"host": host, "port": port, "control": control, "name": name}
    )
    fds = {"listener": listener.fileno()}
    return Service("observer", "supervisor.observe.observer:main", argument, fds)
