"""The link between a process and its supervisor: SOCK_SEQPACKET, one msgpack struct a packet.

All that a worker imports of the runtime. The identity of a worker is the channel: nothing it says
about itself is believed.
"""

import _signal  # type: ignore[import-not-found]
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable

import msgspec

from supervisor import caches
from supervisor.channel import Channel
from supervisor.memory import TrimRequest, screen_bytes, trim

# --- from a process to its supervisor ---------------------------------------------------------


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Init is done: the start has succeeded.

    ``screen``: what is resident and not of files, as `supervisor.process.sample` reads it; 0: not
    known. Soon it may be much more, and nobody could tell what the process needs at least.
    """

    screen: int = 0


class Ignored(msgspec.Struct, frozen=True, tag="ignored"):
    """The child declines to start; the process ends by itself right after."""

    why: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """An exception ends the process: sent before it exits. ``text``: the traceback, bounded."""

    exception: str
    message: str
    text: str


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """The work loop is alive; ``progress`` counts what it has done (messages, steps).

    ``idle``: it has nothing to do, so that progress is not to be expected.
    """

    progress: int
    idle: bool = False


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The target has returned, or raised SystemExit: only after this is exit status 0 success."""


class Suspect(msgspec.Struct, frozen=True, tag="suspect"):
    """The message at hand has ended a process before; or is done with. See `WorkerLink.suspect`."""

    on: bool


FromWorker = Ready | Ignored | Failed | Beat | Finished | Suspect | caches.Caches


# --- from a supervisor to a process -----------------------------------------------------------


class Assign(msgspec.Struct, frozen=True, tag="assign"):
    """A spare becomes a child. Descriptors: stdout, stderr, then those the launch declares.

    ``kind`` (a `supervisor.process.launch.Kind`) is empty for one that has got ready for it.
    ``marks``: see `supervisor.process.launch.Launch`. ``ahead``: only once it inherits.
    """

    path: str
    incarnation: int
    kind: bytes = b""
    marks: bool = False
    ahead: bool = False


class Inherit(msgspec.Struct, frozen=True, tag="inherit"):
    """A spare is somebody's heir (`supervisor.process.heirs`): it becomes one of those that follow.

    Descriptor: the eventfd that its template wakes it with; the number is which of the `Assign`
    that came ``ahead`` it is, from 1.
    """


class StopRequest(msgspec.Struct, frozen=True, tag="stop"):
    """Finish what you are doing and end, within ``seconds`` (inf: no limit)."""

    seconds: float


class DirectoryMade(msgspec.Struct, frozen=True, tag="directory_made"):
    """To the runtime's own: the runtime directory was wiped, and is new and empty."""


class Nudge(msgspec.Struct, frozen=True, tag="nudge"):
    """To the runtime's own: something has changed since you looked; see `WorkerLink.nudged`."""


ToWorker = Assign | Inherit | StopRequest | TrimRequest | DirectoryMade | Nudge


# --- the worker's side ------------------------------------------------------------------------

#: Seconds between two words about caches: while there is work, and when there is none.
CACHES_EVERY, CACHES_AT_REST = 5.0, 1.0


class Context(msgspec.Struct, frozen=True):
    """Who this process is.

    ``path`` is its slot's ("shop/charge.0"); ``fds`` the declared descriptors by name ("queues");
    ``heartbeat`` the seconds of silence after which it counts as stuck, None for never;
    ``stall_timeout`` those without progress while there is work, None for any.
    """

    path: str
    incarnation: int
    app: str = ""
    queue: str | None = None
    heartbeat: float | None = None
    stall_timeout: float | None = None
    fds: dict[str, int] = {}


class WorkerLink:
    """A process's own end of its link.

    A request to stop arrives as a StopRequest on the link, and as a signal: who waits polls
    `fileno` and `wakeup_fd` too, and asks `stopping` when either is readable.
    """

    def __init__(self, sock: socket.socket, context: Context) -> None:
        sock.setblocking(False)
        self.socket, self.context = sock, context
        self._pid = os.getpid()
        self._channel: Channel[ToWorker] = Channel(sock, ToWorker)
        self._stopping = False
        limits = [x for x in (context.heartbeat, context.stall_timeout) if x is not None]
        self._interval = min(limits) / 4 if limits else None
        self._next_beat = 0.0
        self._idle = True  # as far as anybody was told
        self._progress = 0  # that was counted last
        self._caches: list[caches.CacheFacts] = []  # as they were told last
        self._caches_at = -CACHES_EVERY  # by the clock
        self._caches_late = False  # there was no time to tell them
        self._wakeup = -1
        self._nudged = False
        self.on_directory_made: Callable[[], None] = lambda: None
        self.on_rest: Callable[[], None] = lambda: None  # called in another thread, which waits

    def fileno(self) -> int:
        """The link's descriptor: readable when the supervisor said something, or is gone."""
        return self.socket.fileno()

    @property
    def beat_interval(self) -> float | None:
        """Seconds within which a work loop that waits has to beat; None: it need not."""
        if not self._caches_late:
            return self._interval
        return CACHES_AT_REST if self._interval is None else min(self._interval, CACHES_AT_REST)

    def ready(self, *, begun: bool = True) -> None:
        """Say that the start has succeeded.

        Args:
            begun: whether any of the author's code has run; if not, it has taken no memory yet.

        """
        self._say(Ready(screen_bytes() if begun else 0))

    def ignore(self, why: str = "") -> None:
        """Say that this process declines to start (OTP's ``ignore``); it has to end then."""
        self._say(Ignored(why))

    def failed(self, exception: str, message: str, text: str) -> None:
        """Say which exception ends this process."""
        last = Failed(_sendable(exception[:100]), _sendable(message[:1000]), _sendable(text))
        self._say(last, LAST_WORDS)

    def finished(self) -> None:
        """Say that this process ends in order."""
        self._say(Finished(), LAST_WORDS)

    def beat(self, progress: int, *, idle: bool = False) -> None:
        """Say that the work loop is alive; ``progress`` is what it has counted so far.

        To be called by the work loop itself, as often as it likes: what is sent is one beat in
        `beat_interval` seconds, or when work begins after it was ``idle`` (without anything to
        do); nothing when the Child has neither ``heartbeat`` nor ``stall_timeout``.
        """
        if caches.known:
            self.tell_caches(idle=idle)
        if self._interval is None:
            return
        self._progress = progress
        now = time.monotonic()
        if now >= self._next_beat or (self._idle and not idle):
            self._next_beat = now + self._interval
            self._idle = idle
            self._say(Beat(progress, idle))

    def rest(self) -> None:
        """Say that the work loop waits, with what it has counted last: a beat of who is idle.

        Another thread than the main one, which may be stuck meanwhile, says it to `on_rest` only.
        """
        if threading.current_thread() is threading.main_thread():
            self.beat(self._progress, idle=True)
        else:
            self.on_rest()

    def rested(self) -> None:
        """Say that the work loop goes on, if it was said that it waits."""
        if self._idle and threading.current_thread() is threading.main_thread():
            self.beat(self._progress)

    def tell_caches(self, *, idle: bool = False) -> None:
        """Say what the caches have, if it is time and anything has changed.

        Called with every beat; from what never beats, by the caches themselves when they are used.
        """
        now = time.monotonic()
        self._caches_late = now < self._caches_at + (CACHES_AT_REST if idle else CACHES_EVERY)
        if self._caches_late:
            return
        self._caches_at = now
        found = caches.facts()
        if found != self._caches:
            self._caches = found
            self._say(caches.Caches(found))

    def suspect(self, on: bool) -> None:
        """Say that the message at hand has ended a process before, or is done with.

        Ends over it are charged to the message, whose attempts its queue counts, not to the restart
        intensity; the first one, unannounced, counts. So one message that ends every process cannot
        take a tree down, and processes that end over every message do.
        """
        self._say(Suspect(on))

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop (or is alone). To be asked between two pieces of work."""
        while not self._stopping:
            try:
                message, _ = self._channel.receive() or (None, [])
            except BlockingIOError:
                break
            except (OSError, msgspec.DecodeError):
                message = None
            self._stopping = message is None or isinstance(message, StopRequest)
            if isinstance(message, TrimRequest):
                trim()
            elif isinstance(message, DirectoryMade):
                self.on_directory_made()
            elif isinstance(message, Nudge):
                self._nudged = True
        return self._stopping

    @property
    def is_nudged(self) -> bool:
        """Whether there was a nudge that nobody has taken note of."""
        return self._nudged

    def nudged(self) -> bool:
        """Take note of a nudge; whether there was one, which has ended `wait` early."""
        nudged, self._nudged = self._nudged, False
        return nudged

    @property
    def interrupted(self) -> bool:
        """Whether the stop signal arrived: as `stopping`, but free, for use after each message."""
        return self._stopping

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until a request to stop comes: then return True. A nudge ends it, too.

        Args:
            seconds: how long; infinity: until it comes.

        """
        if caches.known:
            self.tell_caches(idle=True)
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        poll.register(self.wakeup_fd, select.POLLIN)
        while not self.stopping:
            left = deadline - time.monotonic()
            if left <= 0 or self._nudged:
                return False
            poll.poll(min(left, LONGEST_WAIT) * 1000)
        return True

    @property
    def wakeup_fd(self) -> int:
        """A descriptor that becomes readable when the stop signal arrives."""
        if self._wakeup < 0:
            self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return self._wakeup

    def stop_on_signal(self, *signals: int) -> None:
        """Make SIGTERM, or these, a request to stop that interrupts only waits on `wakeup_fd`."""
        wakeup = self.wakeup_fd

        def stop(_signum: int, _frame: object) -> None:
            self._stopping = True
            os.eventfd_write(wakeup, 1)

        for signum in signals or (signal.SIGTERM,):
            _signal.signal(signum, stop)  # not signal's: it makes an Enum of what was there

    def _say(self, message: msgspec.Struct, patience: float = 0.0) -> None:
        if os.getpid() != self._pid:  # a fork of the worker must not speak for it
            return
        try:
            if self.socket.gettimeout() != patience:  # to set it is a system call
                self.socket.settimeout(patience)
            self._channel.send(message)
        except OSError:  # the supervisor does not read, or is gone: the kernel ends us with it
            pass


#: Seconds of one wait in the kernel, which counts milliseconds in an int: beyond, it waits again.
LONGEST_WAIT = 86_400.0
#: Bytes of a traceback that are sent; seconds that the last message waits for a busy supervisor.
MAX_TEXT, LAST_WORDS = 60_000, 1.0


def _sendable(text: str) -> str:  # whatever is not UTF-8 is escaped, and it has an end
    return text.encode("utf-8", "backslashreplace")[-MAX_TEXT:].decode("utf-8", "ignore")


_current: WorkerLink | None = None


def current() -> WorkerLink | None:
    """Return the link of this process; None if no supervisor started it."""
    return _current


def install(link: WorkerLink | None) -> None:
    """Make a link the one of this process; None: it has none."""
    global _current
    _current = link


def ready() -> None:
    """Say that this process is ready: for a Child with ``ready="notify"``."""
    if _current is not None:
        _current.ready()


def beat(progress: int, *, idle: bool = False) -> None:
    """Say that the work loop is alive: see `WorkerLink.beat`."""
    if _current is not None:
        _current.beat(progress, idle=idle)


def stopping() -> bool:
    """Whether this process was asked to stop."""
    return _current is not None and _current.stopping
