"""The life of one process in a slot: from the request to start it until nothing of it is left.

    begin ──► STARTING ──ready──► READY ──► GONE
                 │                            ▲
                 └──────── failed ────────────┘

What happens to it is told to the core as events (`deliver`); what the core wants done to it comes
in as `begin`, `stop` and `kill`. The end is what its template, its parent, says of it; the link's
end of file alone is not (a worker may close it and live).
"""

import math
import os
import signal
import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from supervisor import link
from supervisor.core.events import Event, Exited, Started, StartFailed, StartIgnored
from supervisor.core.exits import ExitKind, ExitReason
from supervisor.definition import ChildDefinition
from supervisor.loop import TimerHandle
from supervisor.observe.snapshot import WorkerStatus
from supervisor.plan import ChildStart
from supervisor.process import launch as launches
from supervisor.process import messages
from supervisor.readiness import readiness_of
from supervisor.shell import ERROR, WARNING, Shell
from supervisor.slots import Slot
from supervisor.templates import Spare, Template
from supervisor.verdict import Ending, last_exit, verdict

#: Sent to a hung process: faulthandler then writes the stacks of all its threads.
DUMP_SIGNAL = signal.SIGRTMAX - 1
#: Seconds between that signal and SIGKILL.
DUMP_GRACE = 0.25
#: Seconds that a process may live on after its link was closed.
LINK_GRACE = 2.0
#: Seconds after SIGKILL until a process counts as unkillable and is left behind.
UNKILLABLE_AFTER = 5.0
#: Bytes of a stack dump that are kept.
MAX_DUMP = 64 * 1024
#: Messages read from one link in one pass: a flood of them must not starve the others.
MAX_MESSAGES = 64
#: Causes of a kill before which the stacks are worth having.
HUNG = frozenset({"start_timeout", "heartbeat", "stop_timeout"})


class Phase(Enum):
    """Where in its life a process is."""

    STARTING = "starting"
    READY = "ready"
    GONE = "gone"


class ChildProcess:
    """One process of one child, from its start to its end."""

    accepts: object = link.FromWorker
    accepts_large = False

    def __init__(
        self,
        shell: Shell,
        slot: Slot,
        start: ChildStart,
        incarnation: int,
        deliver: Callable[[Event], None],
        key: str,
    ) -> None:
        self.shell, self.slot, self.start = shell, slot, start
        self.incarnation, self.key = incarnation, key
        self._deliver = deliver
        self.phase = Phase.STARTING
        self.shutdown: float | None = None  # seconds it has to end in; for its information
        self.ending = Ending(finished=self._is_command)
        self._template: Template = shell.runtime
        self._serial = 0
        self._channel: link.Channel[Any] | None = None
        self._stacks = -1  # memfd that faulthandler writes to
        self._readiness = readiness_of(
            start.definition, shell.loop, shell.runtime_dir, self.became_ready
        )
        self._timers: dict[str, TimerHandle] = {}
        self.status = WorkerStatus(
            path=start.path,
            slot=start.slot,
            state="starting",
            generation=slot.starts,
            started_at=time.time(),
            restarts=slot.restarts,
            last_exit=slot.last_exit,
        )

    # --- what the core wants ------------------------------------------------------------------

    def begin(self) -> None:
        """Ask for the process: a spare if there is one, else a fork."""
        self._template = self._choose_template()
        declared = self._descriptors()
        launch = launches.encode(self._launch(list(declared)))
        fds = [self.slot.stdout[1], self.slot.stderr[1], *declared.values()]
        spare = self._template.take_spare()
        if spare is not None and self._assign(spare, launch, fds):
            return
        self._spawn(launch, fds)

    def _spawn(self, launch: bytes, fds: list[int]) -> None:
        ours, theirs = link.pair()
        ours.setblocking(False)
        self._stacks = os.memfd_create("stacks", os.MFD_CLOEXEC)
        self._listen(ours)
        end = theirs.detach()
        self._serial = self._template.spawn(self, launch, [end, self._stacks, *fds], [end])
        self._publish("starting")

    def _assign(self, spare: Spare, launch: bytes, fds: list[int]) -> bool:
        """Tell a spare who it is; False if it died waiting and nobody has told us yet."""
        channel = self._listen(spare.link)
        try:
            channel.send(link.Assign(launch), tuple(fds))
        except OSError:
            self._close_channel()
            os.close(spare.stacks)
            return False
        self._serial, self._stacks = spare.serial, spare.stacks
        self._template.adopt(self, spare.serial)
        assert spare.pid is not None
        self.spawned(spare.pid)
        return True

    def stop(self) -> None:
        """Ask it to end: a request on its link, and its stop signal."""
        self.ending.stop_requested = True
        definition = self.start.definition
        if isinstance(definition, ChildDefinition):
            self.ending.stop_signal = definition.stop_signal
        self._say(link.StopRequest(math.inf if self.shutdown is None else self.shutdown))
        self._template.signal(self._serial, self.ending.stop_signal)
        if self.phase is not Phase.GONE:
            self._publish("stopping")

    def kill(self, cause: str) -> None:
        """End it without asking; a hung one says first where it hangs."""
        if self.phase is Phase.GONE or "kill" in self._timers:
            return
        self.ending.kill_cause = cause
        if cause in HUNG and self._writes_stacks:
            self._template.signal(self._serial, DUMP_SIGNAL)
            self._after("kill", DUMP_GRACE, self._kill_now)
        else:
            self._kill_now()

    # --- what becomes of it (templates.Owner) -------------------------------------------------

    def spawned(self, pid: int) -> None:
        """Its template has made it."""
        self.status = msgspec.structs.replace(self.status, pid=pid)
        self.shell.process_up(self.start.path, pid, self.slot.starts)
        self._publish(self.status.state)
        self._readiness.begin()

    def spawn_failed(self, problem: str) -> None:
        """There is no process."""
        self._finish(None, ExitReason(ExitKind.CRASH, f"spawn: {problem}"))

    def exited(self, message: messages.Exited) -> None:
        """It has ended, been reaped, and left no descendant behind."""
        self._read_link()  # its last words
        self._finish(message.status, verdict(message.status, self.ending))

    def suspended(self, stopped: bool) -> None:
        """SIGSTOP or SIGCONT was seen."""
        self._publish("suspended" if stopped else self.phase.value)

    def lost(self) -> None:
        """Its template is gone, and it with it: nothing that it did."""
        self._finish(None, ExitReason(ExitKind.KILLED, "template_lost"), blameless=True)

    # --- its link -----------------------------------------------------------------------------

    def became_ready(self) -> None:
        """The start has succeeded. Harmless when said again."""
        if self.phase is not Phase.STARTING:
            return
        self.phase = Phase.READY
        self._readiness.close()
        self.status = msgspec.structs.replace(self.status, ready_at=time.time())
        self._publish("stopping" if self.ending.stop_requested else "ready")
        self._deliver(Started(self.key, self.incarnation))
        self._watch_heartbeat()

    def handle(self, message: Any) -> None:
        """Act on one message from the link."""
        match message:
            case link.Ready():
                if self._readiness.by_message:
                    self.became_ready()
            case link.Beat():
                self.status = msgspec.structs.replace(
                    self.status, heartbeat_at=time.time(), progress=message.progress
                )
                self.shell.board.set_worker(self.start.owner, self.status)
                self._watch_heartbeat()
            case link.Failed():
                self.ending.exception = message.exception
                self.ending.message = message.message
            case link.Finished():
                self.ending.finished = True
            case link.Ignored():
                self.ending.ended = IGNORED
            case link.Suspect(on=on):
                self.ending.suspect = on

    def link_closed(self) -> None:
        """Its end of the link is closed: it executed another program, is dying, or did a wrong."""
        if self._readiness.by_exec:
            if self.phase is Phase.STARTING and not self.ending.exception:  # could not execute it
                self.became_ready()
        elif self.phase is not Phase.GONE and not self._is_command:
            self._after("link", LINK_GRACE, lambda: self.kill("control_lost"))

    def _listen(self, sock: socket.socket) -> link.Channel[Any]:
        self._channel = link.Channel(sock, self.accepts, large=self.accepts_large)
        self.shell.loop.watch(sock, lambda _mask: self._read_link())
        return self._channel

    def _read_link(self) -> None:
        for _ in range(MAX_MESSAGES):
            channel = self._channel
            if channel is None:
                return
            try:
                received = channel.receive()
            except BlockingIOError:
                return
            except msgspec.DecodeError as error:
                self.shell.log(ERROR, "malformed message", child=self.start.path, error=str(error))
                self._close_channel()
                self.kill("protocol")
                return
            except OSError:
                received = None
            if received is None:
                self._close_channel()
                self.link_closed()
                return
            self.take(*received)

    def take(self, message: Any, fds: list[int]) -> None:
        """Take one message and its descriptors; a worker has none to send."""
        for fd in fds:
            os.close(fd)
        self.handle(message)

    def _say(self, message: msgspec.Struct) -> None:
        if self._channel is not None:
            try:
                self._channel.send(message)
            except OSError:  # full or closed: the stop signal says the same
                pass

    def _close_channel(self) -> None:
        if self._channel is not None:
            self.shell.loop.unwatch(self._channel.socket)
            self._channel.close()
            self._channel = None

    # --- watching over it ---------------------------------------------------------------------

    def _watch_heartbeat(self) -> None:
        limit = getattr(self.start.definition, "heartbeat", None)
        if limit is not None and self.phase is Phase.READY:
            self._after("heartbeat", limit, lambda: self.kill("heartbeat"))

    def _after(self, name: str, delay: float, callback: Callable[[], None]) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()
        self._timers[name] = self.shell.loop.call_later(delay, callback)

    def _kill_now(self) -> None:
        self._template.signal(self._serial, signal.SIGKILL, group=True)
        self._after("unkillable", UNKILLABLE_AFTER, self._give_up)

    def _give_up(self) -> None:
        """Leave a process behind that does not even die of SIGKILL, so that nobody waits for it."""
        if self.phase is Phase.GONE:
            return
        pid = self.status.pid
        self.shell.log(ERROR, "unkillable process left behind", child=self.start.path, pid=pid)
        self._finish(None, ExitReason(ExitKind.KILLED, "unkillable"))
        self._publish("unkillable")

    # --- the end ------------------------------------------------------------------------------

    def _finish(self, status: int | None, reason: ExitReason, *, blameless: bool = False) -> None:
        if self.phase is Phase.GONE:
            return
        was_ready = self.phase is Phase.READY
        self.phase = Phase.GONE
        self._release()
        self.slot.unplanned = not self.ending.stop_requested
        ignored = self.ending.ended is IGNORED
        if not ignored:
            self.slot.last_exit = last_exit(status, self.ending, reason, time.time())
        self.status = msgspec.structs.replace(
            self.status, pid=None, last_exit=self.slot.last_exit, heartbeat_at=None
        )
        self._publish("stopped")
        self._report_stacks(reason)
        if was_ready:
            no_blame = blameless or self.ending.suspect
            self._deliver(Exited(self.key, self.incarnation, reason, no_blame))
        elif ignored:
            self._deliver(StartIgnored(self.key, self.incarnation))
        else:
            self._deliver(StartFailed(self.key, self.incarnation, reason))

    def _release(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._readiness.close()
        self._close_channel()
        if self._stacks >= 0:
            dump = os.pread(self._stacks, MAX_DUMP, 0)
            os.close(self._stacks)
            self._stacks = -1
            if dump:
                self.ending.stacks = dump.decode("utf-8", "replace")

    def _report_stacks(self, reason: ExitReason) -> None:
        if self.ending.stacks:
            self.shell.log(
                WARNING,
                "stacks of a process that hung or was killed by a fault",
                child=self.start.path,
                generation=self.slot.starts,
                cause=reason.cause,
                stacks=self.ending.stacks,
            )

    def _publish(self, state: str) -> None:
        self.status = msgspec.structs.replace(self.status, state=state)
        self.shell.board.set_worker(self.start.owner, self.status)

    # --- how it is started --------------------------------------------------------------------

    @property
    def _is_command(self) -> bool:
        definition = self.start.definition
        return isinstance(definition, ChildDefinition) and definition.command is not None

    @property
    def _writes_stacks(self) -> bool:
        return not self._is_command and self._channel is not None

    def _descriptors(self) -> dict[str, int]:
        return self.shell.fds

    def _choose_template(self) -> Template:
        definition = self.start.definition
        if not isinstance(definition, ChildDefinition) or definition.command is not None:
            return self.shell.runtime
        fresh = not definition.preload or not self.shell.preload
        return self.shell.runtime if fresh else self.shell.release

    def _launch(self, fds: list[str]) -> launches.Launch:
        definition = self.start.definition
        assert isinstance(definition, ChildDefinition)
        settings = definition.settings
        run: launches.Node | launches.Command = launches.Node(self.start.owner)
        if definition.command is not None:
            run = launches.Command(definition.command, notify=definition.ready == "notify")
        if self._readiness.environment:
            environment = {**settings.env, **self._readiness.environment}
            settings = msgspec.structs.replace(settings, env=environment)
        return launches.Launch(
            path=self.start.path,
            incarnation=self.slot.starts,
            run=run,
            app=self.shell.app,
            settings=settings,
            ready=definition.ready,
            heartbeat=definition.heartbeat,
            queue=definition.queue,
            fds=fds,
            log_level=self.shell.log_level,
        )


IGNORED = ExitReason(ExitKind.NORMAL, "ignore")

__all__ = ["ChildProcess", "Phase"]
