"""A nested supervisor as its parent sees it: a process that is given connections of its own.

It ends when three things have happened: its process is gone, and each template has closed the
connection it had and killed all that was asked for over it. Only then does the parent's core hear
of the end, so that there are never two copies of a subtree.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from supervisor.core.exits import ExitKind, ExitReason
from supervisor.crashes.death import Death, Untold
from supervisor.definition import SupervisorDefinition
from supervisor.process import launch as launches
from supervisor.process import messages
from supervisor.shell import uplink
from supervisor.shell.linked_process import LinkedProcess
from supervisor.shell.phase import Phase
from supervisor.shell.surroundings import ERROR
from supervisor.shell.templates import Template
from supervisor.shell.verdict import verdict

#: Seconds to wait for the templates' word that a dead supervisor's subtree is gone.
SWEEP_DEADLINE = 10.0
#: Seconds that a supervisor may stay stopped (SIGSTOP): nobody supervises its subtree meanwhile.
SUSPENDED_LIMIT = 10.0


class Arguments(msgspec.Struct, frozen=True):
    """What a nested supervisor is told at its start."""

    path: str
    app: str
    definition: SupervisorDefinition
    runtime_dir: str
    log_level: str
    spares: int
    preload: bool
    pipes: bool
    marks: bool
    fresh: bool = True
    code: str = ""


class NestedProcess(LinkedProcess):
    """One process of a nested supervisor."""

    accepts = uplink.FromSupervisor
    accepts_large = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._connections: dict[Template, int] = {}  # descriptors for it to inherit
        self._tokens: set[tuple[Template, int]] = set()  # whose processes may still be there
        self._hooked = False
        self._connected_to: Template | None = (
            None  # that of the release which it has, if it is known
        )
        self._held: uplink.Adopt | None = None  # until it has the one of the new release
        self._answers: dict[int, Callable[[uplink.Answer], None]] = {}
        self._status_of_end: Callable[[], None] | None = None

    # --- start --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Get it a connection to each template, then ask for the process."""
        self._publish("starting")
        for template in (self.shell.runtime, self.shell.release):
            self._open(template, partial(self._connected, template))
            if not self._hooked:
                template.on_attach.append(self._reconnect_hook())
        self._hooked = True

    def _open(self, template: Template, opened: Callable[[int], None]) -> None:
        token = template, 0

        def closed() -> None:
            if token not in self._tokens:  # of an attempt to start it that was given up
                return
            self._tokens.discard(token)
            if template is self.shell.release:
                self._refuse_held(template.name)
            if self._serial == 0 and template not in self._connections:
                self._not_connected(template.name)
            else:
                self._end_if_swept()

        def was_opened(fd: int) -> None:
            if token in self._tokens:
                opened(fd)
            else:
                os.close(fd)

        token = template, template.open(was_opened, closed)
        self._tokens.add(token)

    def _not_connected(self, name: str) -> None:
        """The template has no descriptors left, or is gone: it cannot be started now."""
        self.spawn_failed(f"no connection to template {name!r}", transient=True)

    def _withdraw(self) -> None:
        super()._withdraw()
        self._drop_connections()
        self._tokens.clear()

    def _drop_connections(self) -> None:
        """Close our copies: they were passed on, or are not needed."""
        for connection in self._connections.values():
            os.close(connection)
        self._connections.clear()

    def _connected(self, template: Template, fd: int) -> None:
        if self.phase is Phase.GONE or self.ending.stop_requested:
            os.close(fd)
            self._drop_connections()
            self._finish(None, ExitReason(ExitKind.SHUTDOWN, "shutdown"))
            return
        self._connections[template] = fd
        if len(self._connections) == 2:
            release, problem = self.shell.release, ""
            was_replaced = release not in self._connections  # since the connection was asked for
            try:
                super().begin()
            except OSError as error:  # no descriptors are left
                problem = error.strerror or "no descriptors"
            self._drop_connections()
            if problem:
                self.spawn_failed(problem, transient=True)
            elif was_replaced:
                self._open(release, partial(self._reconnected, release))
            else:
                self._connected_to = release

    def _reconnect_hook(self) -> Callable[[Template], None]:
        def attached(template: Template) -> None:
            if self.phase is Phase.GONE:
                template.on_attach.remove(attached)
            elif self._outbox is not None:
                self._open(template, partial(self._reconnected, template))

        return attached

    def _reconnected(self, template: Template, fd: int) -> None:
        if self._outbox is None:
            os.close(fd)
            return
        code = self.shell.release.code
        self._outbox.send(uplink.TemplateConnection(template.name, code), fd)
        if template is self.shell.release:
            self._connected_to, held, self._held = template, self._held, None
            if held is not None:
                self._outbox.send(held)

    def _refuse_held(self, name: str) -> None:
        """There is no connection to the template of the new release: nothing is adopted."""
        change, self._held = self._held, None
        if change is not None and (answered := self._answers.pop(change.token, None)):
            problem = f"{self.start.path}: no connection to template {name!r}"
            answered(uplink.Answer(change.token, False, problem, "not_connected"))

    def _descriptors(self) -> dict[str, int]:
        passed = {template.name: fd for template, fd in self._connections.items()}
        return {**passed, **self.shell.fds}

    def _kind(self, fds: list[str]) -> launches.Kind:
        definition = self.start.definition
        assert isinstance(definition, SupervisorDefinition)
        arguments = Arguments(
            path=self.start.path,
            app=self.shell.app,
            definition=definition,
            runtime_dir=self.shell.runtime_dir,
            log_level=self.shell.log_level,
            spares=self.shell.spares,
            preload=self.shell.preload,
            pipes=self.shell.pipes is not None,
            marks=self.shell.marks,
            fresh=not self.slot.counted,
            code=self.shell.release.code,
        )
        return launches.Kind(
            run=launches.Entry("supervisor.shell.nested:main", msgspec.msgpack.encode(arguments)),
            fds=fds,
            log_level=self.shell.log_level,
        )

    # --- while it lives -----------------------------------------------------------------------

    def command(self, request: uplink.Command, on_answer: Callable[[uplink.Answer], None]) -> None:
        """Pass a command on to it; answered with a failure if it dies meanwhile."""
        if self._outbox is None:
            on_answer(uplink.Answer(request.token, False, "it is not running", "not_running"))
            return
        self._answers[request.token] = on_answer
        self._outbox.send(request)

    def adopt(self, change: uplink.Adopt, on_answer: Callable[[uplink.Answer], None]) -> None:
        """Have it take over what a new release declares, once it has the template of it."""
        if self._outbox is None:
            on_answer(uplink.Answer(change.token, False, "it is not running", "not_running"))
            return
        self._answers[change.token] = on_answer
        if self._connected_to is self.shell.release:
            self._outbox.send(change)
        else:
            self._held = change

    def granted(self, tokens: int) -> None:
        """Pass tokens of the budget on; what it does not live to take is lost."""
        if self._outbox is not None:
            self._outbox.send(uplink.StartsGranted(tokens))

    def stop(self) -> None:
        """Ask it to stop its subtree and end."""
        if self._serial == 0:
            self.ending.stop_requested = True
        else:
            super().stop()

    def kill(self, cause: str) -> None:
        """End it and all below it."""
        if self._serial == 0:
            self.ending.stop_requested = True
        else:
            super().kill(cause)

    def suspended(self, stopped: bool) -> None:
        """Bear it for a while. Its template sees it; a heartbeat would cost wake-ups when idle."""
        super().suspended(stopped)
        if stopped:
            self._deadlines.after("suspended", SUSPENDED_LIMIT, lambda: self.kill("suspended"))
        else:
            self._deadlines.cancel("suspended")

    def take(self, message: Any, fds: list[int]) -> None:
        """Take one message; only PipeUp comes with a descriptor."""
        if isinstance(message, uplink.PipeUp) and len(fds) == 1 and self.shell.pipes is not None:
            self.shell.pipes(message.path, message.stream, fds[0])
            return
        super().take(message, fds)

    def handle(self, message: Any) -> None:
        """Act on one message from it."""
        match message:
            case uplink.Statuses():
                self.shell.board.merge(message)
            case uplink.ProcessUp():
                up = message
                self.shell.process_up(up.path, up.pid, up.incarnation, up.marked)
            case uplink.PipesGone():
                self.shell.pipes_gone(message.path)
            case uplink.StartsWanted():
                self.shell.starts.want(self, message.count)
            case uplink.Answer():
                if answered := self._answers.pop(message.token, None):
                    answered(message)
            case uplink.Ended():
                self.ending.ended = ExitReason(ExitKind(message.kind), message.cause)
                self.ending.gave_up = message.gave_up
            case Death() | Untold():
                self.shell.obituaries.pass_on(message)
            case _:
                super().handle(message)

    def show(self) -> None:
        """Put its state on the board."""
        self.shell.board.set_supervisor(
            uplink.SupervisorRecord(
                path=self.start.path,
                state=self.status.state,
                pid=self.status.pid,
                generation=self.slot.starts,
                started_at=self.status.started_at,
                restarts=self.slot.restarts,
                last_exit=self.slot.last_exit,
                left_behind=self.slot.left_behind.pids,
            )
        )

    # --- the end ------------------------------------------------------------------------------

    def exited(self, message: messages.Exited) -> None:
        """Its process is gone; its subtree may not be."""
        if self.phase is Phase.GONE:
            self._gone_after_all()
            return
        self._take_end(message)
        reason = verdict(message.status, self.ending)
        self._end_when_swept(lambda: self._finish(message.status, reason))

    def lost(self) -> None:
        """Its template is gone, and it with it."""
        if self.phase is Phase.GONE:
            self._gone_after_all()
            return
        lost = ExitReason(ExitKind.KILLED, "template_lost")
        self._end_when_swept(lambda: self._finish(None, lost, blameless=True))

    def _leave_behind(self) -> None:
        """It cannot be killed, so does not close its connections: its subtree is ended for it."""
        for template, token in self._tokens:
            template.close_opened(token)
        self._end_when_swept(super()._leave_behind)

    def _end_when_swept(self, end: Callable[[], None]) -> None:
        self._status_of_end = end
        self._deadlines.after("sweep", SWEEP_DEADLINE, self._sweep_late)
        self._end_if_swept()

    def _end_if_swept(self) -> None:
        if self._status_of_end is not None and not self._tokens:
            end, self._status_of_end = self._status_of_end, None
            end()

    def _sweep_late(self) -> None:
        self.shell.log(ERROR, "subtree not gone in time", child=self.start.path)
        self._tokens.clear()
        self._end_if_swept()

    def _finish(self, status: int | None, reason: ExitReason, *, blameless: bool = False) -> None:
        path = self.start.path
        self.shell.pipes_gone(path + "/")
        self.shell.board.remove(path)
        self.shell.starts.gone(self)
        super()._finish(status, reason, blameless=blameless)
        answers, self._answers = self._answers, {}  # who is told may ask for more, in vain now
        for token, answered in answers.items():
            answered(uplink.Answer(token, False, f"{path} ended meanwhile", "not_running"))
