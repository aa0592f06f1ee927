"""The protocol between a supervisor and a template: SOCK_SEQPACKET, one msgpack struct a packet.

Processes are named by a *serial* that the supervisor chooses, never by pid: a late request about
a process that is gone finds nothing, and cannot hit a pid that was used again. A connection sees
and signals only the processes it asked for, and when it closes, they are killed.
"""

import msgspec


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Import the app and answer Loaded or LoadFailed. The first request to a release template.

    ``arguments``: what the app finds in ``sys.argv[1:]``.
    """

    app: str
    arguments: list[str] = []


class Spawn(msgspec.Struct, frozen=True, tag="spawn"):
    """Fork a process. Descriptors: link, stacks (a memfd that faulthandler writes to), stdout,
    stderr, then those that ``launch`` declares.

    With an empty ``launch`` it is a spare: only link and stacks are sent; stdout, stderr, declared
    descriptors and the launch come later, as `supervisor.link.Assign` on the link. ``kind``: of
    child that it gets ready for. ``at_once``: it is needed now, and has no time to rehearse.
    """

    serial: int
    launch: bytes = b""
    kind: bytes = b""
    at_once: bool = False

    def brief(self) -> "Spawn":
        """Return what is needed to say that it could not be done."""
        return Spawn(self.serial)


class Bequeath(msgspec.Struct, frozen=True, tag="bequeath"):
    """Name the heir of some processes: the spare that goes on in the place of the first that ends.

    Descriptor: the eventfd that the spare waits for; it has been told already as whom it goes on
    (`supervisor.link.Inherit`), in the same order. With no processes, and no descriptor, it
    inherits nothing any more.
    """

    heir: int
    processes: list[int] = []


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """Send a signal to a process, or to its whole process group."""

    serial: int
    signum: int
    group: bool = False


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Make another connection, for a nested supervisor; answered by Opened with a descriptor."""

    token: int


class Close(msgspec.Struct, frozen=True, tag="close"):
    """End a connection made with Open, and all that was asked for over it; answered by Closed.

    For one whose other end cannot be closed, as who has it can be neither asked nor killed.
    """

    token: int


Request = Load | Spawn | Bequeath | Signal | Open | Close


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The app is imported and checked: its tree (msgpack of SupervisorDefinition).

    ``threads`` and ``left_open`` name what keeps this template from forking (children are then
    started with ``preload=False``), e.g. "thread 'pool-1' started by shop/db.py:12" and "socket
    connected to 10.0.0.7:5432, opened by shop/db.py:12"; both are empty if it can.
    ``code``: which version it is, see `supervisor.process.code`.
    """

    definition: bytes
    threads: list[str] = []
    code: str = ""
    left_open: list[str] = []


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The app cannot be used. ``detail``: the full traceback, for --debug."""

    problem: str
    where: str = ""
    help: str = ""
    detail: str = ""
    exit_code: int = 78


class Spawned(msgspec.Struct, frozen=True, tag="spawned"):
    """The process exists."""

    serial: int
    pid: int


class SpawnFailed(msgspec.Struct, frozen=True, tag="spawn_failed"):
    """No process was made: fork failed, or the app keeps the template from forking."""

    serial: int
    problem: str
    transient: bool = True  # False: trying again cannot help


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """The process has ended, been reaped, and left no descendant behind.

    ``status`` is the wait status; times in seconds; ``escaped``: descendants outside its process
    group that had to be hunted down; ``heir``: the serial of the spare that was woken, else 0.
    """

    serial: int
    status: int
    user_time: float = 0.0
    system_time: float = 0.0
    max_rss_bytes: int = 0
    escaped: int = 0
    heir: int = 0


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The process was stopped (SIGSTOP) or continued."""

    serial: int
    stopped: bool


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """A new connection; its descriptor is attached."""

    token: int


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """A connection made with Open is closed, and no process asked for over it is left.

    Without Opened before it: there was no descriptor free to make one.
    """

    token: int


Reply = Loaded | LoadFailed | Spawned | SpawnFailed | Exited | Stopped | Opened | Closed
