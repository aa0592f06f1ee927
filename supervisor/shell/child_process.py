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
from functools import partial
from typing import Any

import msgspec

from supervisor import link
from supervisor.channel import Channel, pair
from supervisor.core.events import Event, Exited, Started, StartFailed, StartIgnored
from supervisor.core.exits import ExitKind, ExitReason
from supervisor.definition import ChildDefinition
from supervisor.observe.snapshot import LastExit
from supervisor.process import launch as launches
from supervisor.process import messages
from supervisor.shell import stacks
from supervisor.shell.deadlines import Deadlines
from supervisor.shell.kill import HUNG, kill
from supervisor.shell.listener import Listener
from supervisor.shell.mailbox import Mailbox
from supervisor.shell.obituaries import End
from supervisor.shell.phase import Phase
from supervisor.shell.plan import ChildStart
from supervisor.shell.readiness import readiness_of
from supervisor.shell.slots import Slot
from supervisor.shell.spare import Identity
from supervisor.shell.surroundings import ERROR, INFO, WARNING, Shell
from supervisor.shell.templates import Template
from supervisor.shell.verdict import IGNORED, Ending, is_unplanned, last_exit, verdict
from supervisor.shell.worker_kind import (
    is_command,
    is_preparable,
    is_succeeded,
    template_of,
    worker_kind,
)

#: Seconds that a process may live on after its link was closed.
LINK_GRACE = 2.0


class ChildProcess:
    """One process of one child, from its start to its end."""

    accepts: object = link.FromWorker
    accepts_large = False
    trusted = False  # whether it may say as much as it likes

    def __init__(
        self,
        shell: Shell,
        slot: Slot,
        start: ChildStart,
        incarnation: int,
        mailbox: Mailbox,
        key: str,
    ) -> None:
        self.shell, self.slot, self.start = shell, slot, start
        self.incarnation, self.key = incarnation, key
        self._mailbox = mailbox
        self.phase = Phase.STARTING
        self.ending = Ending(finished=is_command(start.definition))
        self._template: Template = shell.runtime
        self._serial = 0
        self._ready_ahead = False
        self._marks, self._kind_sent = False, b""
        self._listener: Listener | None = None
        self._stacks = -1  # where it writes them; -1: nowhere
        where = shell.loop, shell.runtime_dir
        self._readiness = readiness_of(start.definition, *where, self.became_ready)
        self._deadlines = Deadlines(
            shell.loop,
            getattr(start.definition, "heartbeat", None),
            getattr(start.definition, "stall_timeout", None),
            self.kill,
        )
        self.status = slot.status_of_start(start.slot)

    @property
    def path(self) -> str:
        """Its slot's path."""
        return self.start.path

    @property
    def bar(self) -> str:
        """Why it must not be started for now, if it must not."""
        return self.slot.left_behind.bar

    @property
    def _lives_as(self) -> str:
        return "stopping" if self.ending.stop_requested else self.phase.value

    # --- what the core wants ------------------------------------------------------------------

    def begin(self) -> None:
        """Ask for the process: a spare if there is one, else a fork."""
        self._readiness.prepare()
        self._template = template_of(self.shell, self.start)
        kind = self._kind(list(self._descriptors()))
        who, fds = self._identity(self.slot.starts, marks=self._marks)
        self._kind_sent = launches.encode(kind)
        if not self._take_spare(self._kind_sent, who, fds):
            self._spawn(kind, fds)
        if self.status.pid is None:
            self._publish("starting")

    def _spawn(self, kind: launches.Kind, fds: tuple[int, ...]) -> None:
        ours, theirs = pair()
        ours.setblocking(False)
        self._stacks = stacks.make()
        self._listen(ours)
        end = theirs.detach()
        launch = launches.encode(launches.Launch(self.path, self.slot.starts, kind, self._marks))
        self._serial = self._template.spawn(self, launch, [end, self._stacks, *fds], [end])

    def _identity(self, starts: int, *, marks: bool) -> Identity:
        fds = self.slot.stdout[1], self.slot.stderr[1], *self._descriptors().values()
        return link.Assign(self.path, starts, marks=marks), fds

    def _take_spare(self, kind: bytes, who: link.Assign, fds: tuple[int, ...]) -> bool:
        """Become a spare; False if there is none."""
        expect = is_preparable(self.start.definition)
        spare = self._template.spares.take(kind, who, fds, expect=expect)
        if spare is None:
            return False
        os.sched_yield()  # it has work now, and ours can wait
        self._listen(spare.link)
        self._serial, self._stacks = spare.serial, spare.stacks
        if spare.pid is not None:
            self.spawned(spare.pid)
        if spare.end is None:
            self._template.adopt(self, spare.serial)
        else:  # an heir that did not live long
            self.shell.loop.post(partial(self.exited, spare.end))
        return True

    def stop(self) -> None:
        """Ask it to end: a request on its link, and its stop signal."""
        self.ending.stop_requested = True
        definition = self.start.definition
        if isinstance(definition, ChildDefinition):
            self.ending.stop_signal = definition.stop_signal
        seconds = self.ending.shutdown
        self._template.spares.disinherit(self._serial)
        self._say(link.StopRequest(math.inf if seconds is None else seconds))
        self._template.signal(self._serial, self.ending.stop_signal)
        if self.phase is not Phase.GONE:
            self._publish("stopping")

    def kill(self, cause: str) -> None:
        """End it without asking; a hung one says first where it hangs."""
        if self.phase is Phase.GONE or "kill" in self._deadlines:
            return
        self.ending.kill_cause = cause
        self._template.spares.disinherit(self._serial)
        dumps = not is_command(self.start.definition) and self._listener is not None
        send = partial(self._template.signal, self._serial)
        kill(send, self._deadlines, self._leave_behind, dump=cause in HUNG and dumps)

    # --- what becomes of it (templates.Owner) -------------------------------------------------

    def spawned(self, pid: int) -> None:
        """Its template has made it."""
        self.shell.starts.over(self)
        self.status = msgspec.structs.replace(self.status, pid=pid)
        self.shell.process_up(self.start.path, pid, self.slot.starts, self._marks)
        self._publish(self.status.state)
        self._readiness.begin()
        if self._ready_ahead:
            self.became_ready()

    def spawn_failed(self, problem: str, transient: bool = False) -> None:
        """There is no process. ``transient``: there may be one a little later."""
        if transient and not (self.ending.stop_requested or self.ending.kill_cause):
            self._withdraw()
            self._report_stacks(problem)
            self.shell.starts.again(self, problem)
        else:
            self._finish(None, ExitReason(ExitKind.CRASH, f"spawn: {problem}"))

    def granted(self, tokens: int) -> None:
        """Nothing is below a worker that could be started."""

    def exited(self, message: messages.Exited) -> None:
        """It has ended, been reaped, and left no descendant behind."""
        if self.phase is Phase.GONE:
            self._gone_after_all()
        else:
            self._take_end(message)
            self._finish(message.status, verdict(message.status, self.ending))

    def _take_end(self, message: messages.Exited) -> None:
        """Gather the last that there is to know of it: its last words, and what its end says."""
        if self._listener is not None:
            self._listener.read_last()
        self.ending.exited = message
        if message.status == signal.SIGKILL and self.ending.may_be_oom(time.monotonic()):
            self.ending.out_of_memory = self.shell.oom_kills.claim(self.status.pid)

    def suspended(self, stopped: bool) -> None:
        """SIGSTOP or SIGCONT was seen."""
        self._publish("suspended" if stopped else self._lives_as)

    def lost(self) -> None:
        """Its template is gone, and it with it: nothing that it did."""
        self._gone_after_all()
        self._finish(None, ExitReason(ExitKind.KILLED, "template_lost"), blameless=True)

    # --- its link -----------------------------------------------------------------------------

    def became_ready(self) -> None:
        """The start has succeeded. Harmless when said again."""
        if self.phase is not Phase.STARTING:
            return
        if self.status.pid is None:  # it was faster than its template, which will name it
            self._ready_ahead = True
            return
        self.phase = Phase.READY
        self._readiness.close()
        self.status = msgspec.structs.replace(self.status, ready_at=time.time())
        self._publish(self._lives_as)
        self._mailbox.deliver(Started(self.key, self.incarnation))
        self._deadlines.beaten()

    def handle(self, message: Any) -> None:
        """Act on one message from the link."""
        match message:
            case link.Ready():
                if self._readiness.by_message:
                    self.became_ready()
            case link.Beat():
                self._beat(message)
            case _:
                self.ending.hear(message)

    def _beat(self, beat: link.Beat) -> None:
        moved = beat.progress != self.status.progress
        self.status = msgspec.structs.replace(
            self.status, heartbeat_at=time.time(), progress=beat.progress
        )
        self.show()
        if self.phase is Phase.READY:
            self._deadlines.beaten()
            self._deadlines.progressed(moved=moved, idle=beat.idle)

    def link_closed(self) -> None:
        """Its end of the link is closed: it executed another program, is dying, or did a wrong."""
        if self._readiness.by_exec:
            if self.phase is Phase.STARTING and not self.ending.exception:  # could not execute it
                self.became_ready()
        elif self.phase is not Phase.GONE and not is_command(self.start.definition):
            self._deadlines.after("link", LINK_GRACE, lambda: self.kill("control_lost"))

    def _listen(self, sock: socket.socket) -> Channel[Any]:
        channel: Channel[Any] = Channel(sock, self.accepts, large=self.accepts_large)
        noisy = None if self.trusted else self._noisy
        self._listener = Listener(self.shell.loop, channel, self.take, self._unheard, noisy)
        self.shell.loop.watch(channel, lambda _mask: self._read_link())
        return channel

    def _read_link(self) -> None:
        if self._listener is not None:
            self._listener.read()

    def _unheard(self, error: msgspec.DecodeError | None) -> None:
        """There is nothing more to be heard of it."""
        if error is None:
            self.link_closed()  # before all else: a successor's fork is asked for
        self._close_channel()
        if error is not None:
            self.shell.log(ERROR, "malformed message", child=self.path, error=str(error))
            self.kill("protocol")

    def _noisy(self) -> None:
        self.shell.log(WARNING, "says too much, is heard less", child=self.path)

    def take(self, message: Any, fds: list[int]) -> None:
        """Take one message and its descriptors; a worker has none to send."""
        for fd in fds:
            os.close(fd)
        self.handle(message)

    def _say(self, message: msgspec.Struct) -> None:
        if self._listener is not None:
            try:
                self._listener.channel.send(message)
            except OSError:  # full or closed: the stop signal says the same
                pass

    def _close_channel(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    # --- the end ------------------------------------------------------------------------------

    def _leave_behind(self) -> None:
        """It does not even die of SIGKILL: nobody waits for it any more."""
        if self.phase is Phase.GONE:
            return
        if pid := self.status.pid:
            self.slot.left_behind.add(self.incarnation, pid)
        self.shell.log(ERROR, "unkillable process left behind", child=self.path, pid=pid)
        self._finish(None, ExitReason(ExitKind.KILLED, "unkillable"))
        self._publish("unkillable")

    def _gone_after_all(self) -> None:
        """It was left behind, and is no more."""
        left = self.slot.left_behind
        if pid := left.remove(self.incarnation):
            self.shell.log(INFO, "unkillable process has gone", child=self.path, pid=pid)
            left.show(self.shell.board, self.path, vacant=not self.slot.occupants)
            self.shell.starts.review()

    def _finish(self, status: int | None, reason: ExitReason, *, blameless: bool = False) -> None:
        if self.phase is Phase.GONE:
            return
        was_ready = self.phase is Phase.READY
        self.phase = Phase.GONE
        self._deadlines.clear()
        self._readiness.close()
        self._withdraw()
        self.shell.starts.over(self)
        ignored = self.ending.ended is IGNORED
        end = last_exit(status, self.ending, reason, time.time(), self.status.generation)
        if not ignored:
            self.slot.last_exit = end
        if last := self.slot.leave(self):
            self.slot.unplanned = not self.ending.stop_requested
        event: Event = self._exited(reason, blameless=blameless)
        if not was_ready:
            who = self.key, self.incarnation
            event = StartIgnored(*who) if ignored else StartFailed(*who, reason)
        self._mailbox.deliver(event)
        if was_ready and is_succeeded(self.start.definition, self.ending):
            self.shell.loop.post(lambda: self._bury(last, reason, end, was_ready))  # after restart
        else:
            self._bury(last, reason, end, was_ready)

    def _exited(self, reason: ExitReason, *, blameless: bool = False) -> Exited:
        return Exited(self.key, self.incarnation, reason, blameless or self.ending.suspect)

    def _bury(self, last: bool, reason: ExitReason, end: LastExit, was_ready: bool) -> None:
        """Show and report what is left of it. ``last``: it was the last in its slot."""
        before = self.status
        self.status = msgspec.structs.replace(before, pid=None, heartbeat_at=None, caches=[])
        if last:
            self._publish("stopped")
        written = self._report_stacks(reason.cause)
        if is_unplanned(self.ending, reason, was_ready):
            of = self.slot, self.start, before, self.ending, reason, end, was_ready
            self.shell.obituaries.note(End(*of, self._template.code, written))

    def _withdraw(self) -> None:
        """Give back what one attempt to start it, or its life, has held."""
        self._serial = 0
        self._close_channel()

    def _report_stacks(self, cause: str) -> str:
        fd, self._stacks = self._stacks, -1
        number = self.status.generation
        return stacks.report(fd, self.shell.log, child=self.path, generation=number, cause=cause)

    def _publish(self, state: str) -> None:
        self.status = msgspec.structs.replace(self.status, state=state)
        self.show()

    def show(self) -> None:
        """Put its state on the status board, if it is the one to be seen in its slot."""
        if self.slot.shows(self):
            status = self.slot.stamped(self.status, self.ending)
            self.shell.board.set_worker(self.start.owner, status)

    # --- how it is started --------------------------------------------------------------------

    def _descriptors(self) -> dict[str, int]:
        return self.shell.fds

    def _kind(self, fds: list[str]) -> launches.Kind:
        return worker_kind(self.shell, self.start, self._readiness.environment, fds)
