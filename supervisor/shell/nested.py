"""The main program of a nested supervisor: the same loop, core and interpreter as root.

It runs in a process forked from the runtime template, with an inherited link to its parent and an
inherited connection to each template.
"""

import os
import signal
import socket

import msgspec

from supervisor.channel import Channel
from supervisor.core.events import Boot, Report, ReportContext, Shutdown
from supervisor.core.exits import SHUTDOWN, ExitReason
from supervisor.core.spec import SupervisorSpec
from supervisor.crashes.death import Word
from supervisor.link import Ready, StopRequest, WorkerLink
from supervisor.logs.record import record_writer
from supervisor.loop import Loop, TimerHandle
from supervisor.priority import go_first
from supervisor.process.launcher import TemplateClient
from supervisor.shell import uplink
from supervisor.shell.actor import Actor
from supervisor.shell.commands import Commander
from supervisor.shell.nested_process import Arguments
from supervisor.shell.outbox import Outbox
from supervisor.shell.plan import supervisor_spec
from supervisor.shell.reports import write
from supervisor.shell.status import FLUSH_DELAY, Board
from supervisor.shell.surroundings import WARNING, Shell
from supervisor.shell.templates import Template

CONNECTIONS = ("runtime", "release")


class NestedSupervisor:
    """One nested supervisor at work."""

    actor_class: type[Actor] = Actor

    def __init__(self, link: WorkerLink, arguments: Arguments, fds: dict[str, int]) -> None:
        self.loop = Loop()
        self._path = arguments.path
        self._gave_up = ""  # why, once it has
        self._channel: Channel[uplink.ToSupervisor] = Channel(
            link.socket, uplink.ToSupervisor, large=True
        )
        link.socket.setblocking(False)
        self._outbox = Outbox(self.loop, self._channel, self._read_link)
        self._flush_timer: TimerHandle | None = None
        self.shell = Shell(
            loop=self.loop,
            app=arguments.app,
            runtime=Template(self.loop, "runtime"),
            release=Template(self.loop, "release"),
            board=Board(self._changed),
            log=record_writer(2, "supervisor"),
            pipes=self._pipe_up if arguments.pipes else None,
            pipes_gone=lambda path: self._outbox.send(uplink.PipesGone(path)),
            process_up=lambda *who: self._outbox.send(uplink.ProcessUp(*who)),
            runtime_dir=arguments.runtime_dir,
            log_level=arguments.log_level,
            fds={name: fd for name, fd in fds.items() if name not in CONNECTIONS},
            spares=arguments.spares,
            marks=arguments.marks,
            preload=arguments.preload,
            fresh=arguments.fresh,
            more_starts=lambda count: self._outbox.send(uplink.StartsWanted(count)),
            say_death=self._say_death,
        )
        spec = self.spec_of(arguments)
        self.actor = self.actor_class(
            self.shell, spec, arguments.path, self._up, self._quit, self._report, self._stepped
        )
        self._commander = Commander(self.actor)
        self.loop.guard(2, self._lagged)
        self.shell.release.code = arguments.code
        for name in CONNECTIONS:
            self._attach(name, fds[name])

    def spec_of(self, arguments: Arguments) -> SupervisorSpec:
        """Return what it supervises."""
        return supervisor_spec(arguments.definition, arguments.path)

    def run(self) -> None:
        """Serve until the subtree has ended."""
        # SIGTERM says the same as the StopRequest that comes with it; both may come.
        self.loop.on_signal(signal.SIGTERM, self._stop)
        self.actor.deliver(Boot())
        self.loop.run()

    def _attach(self, name: str, fd: int) -> None:
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        client = TemplateClient(sock)
        if name == "runtime":
            self.shell.runtime.attach(client)
        elif not self.shell.release.attached:
            self.shell.release.attach(client)
        else:  # it is replaced as planned
            successor = Template(self.loop, name)
            successor.attach(client)
            self.shell.replace_release(successor)

    # --- the parent ---------------------------------------------------------------------------

    def _read_link(self) -> None:
        try:
            received = self._channel.receive()
        except BlockingIOError:
            return
        if received is None:  # the parent is gone, and its template is about to end us
            os._exit(1)
        match received:
            case StopRequest(), _:
                self._stop()
            case uplink.Command() as command, _:
                self._commander.apply(command, self._answer)
            case uplink.Adopt() as change, _:
                self._commander.reloads.adopt(change, self._answer)
            case uplink.TemplateConnection(name, code), [fd]:
                self._attach(name, fd)
                self.shell.release.code = code
            case uplink.StartsGranted(count), _:
                self.shell.starts.add(count)
            case _:
                pass

    def _answer(self, answer: uplink.Answer) -> None:
        self._flush()  # or what was done would be seen later than it was said
        self._outbox.send(answer)

    def _stop(self) -> None:
        self.actor.deliver(Shutdown(SHUTDOWN))

    def _lagged(self, seconds: float) -> None:
        self.shell.log(WARNING, "loop was blocked", seconds=round(seconds, 3))

    def _pipe_up(self, path: str, stream: str, fd: int) -> None:
        self._outbox.send(uplink.PipeUp(path, stream), fd)

    def _say_death(self, word: Word) -> bool:
        self._outbox.send(word)
        return True

    # --- status -------------------------------------------------------------------------------

    def _stepped(self) -> None:
        self.shell.board.set_restart_times(self._path, self.actor.state.restarts)

    def _changed(self) -> None:
        if self._flush_timer is None:
            self._flush_timer = self.loop.call_later(FLUSH_DELAY, self._flush)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        for changes in self.shell.board.take_changes():
            self._outbox.send(changes)

    # --- the core's word ----------------------------------------------------------------------

    def _up(self) -> None:
        self._flush()  # or it would be shown as ready with nothing below it
        self._outbox.send(Ready())
        self.shell.release.spares.fill(self.shell.spares)

    def _report(self, report: Report) -> None:
        if report.context is ReportContext.SHUTDOWN:
            self._gave_up = report.reason.cause
        write(self.shell, self._path, report)

    def _quit(self, reason: ExitReason, _failed_child: str | None) -> None:
        self._flush()
        self.shell.obituaries.tell()
        self._outbox.send(uplink.Ended(reason.kind.value, reason.cause, self._gave_up))
        self.loop.stop()


def main(link: WorkerLink, argument: bytes, fds: dict[str, int]) -> None:
    """Run a nested supervisor until its subtree has ended."""
    go_first()
    NestedSupervisor(link, msgspec.msgpack.decode(argument, type=Arguments), fds).run()
