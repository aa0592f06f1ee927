"""Real supervisors that can be looked at: their shell is the real one, with a tap on it.

What an Actor is told of its children (`deliver`) is written, before it is acted upon, as a line
to the fifo ``trace`` of the site: one order for all processes, and what causes a line in another
process comes after it. A nested supervisor also answers at ``ID.ctl`` of the site: calls, and
``rest``, which is answered with the states of its children once nothing is under way.
"""

import json
import os
import pickle
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from supervisor.core import events as ev
from supervisor.core import observe, validate
from supervisor.core.child import ChildState
from supervisor.core.results import Ok
from supervisor.core.spec import ChildSpec, ChildType, Strategy, SupervisorSpec
from supervisor.core.state import Phase, State
from supervisor.definition import SupervisorDefinition
from supervisor.link import WorkerLink
from supervisor.loop import Loop
from supervisor.process import launch as launches
from supervisor.shell.actor import Actor
from supervisor.shell.child_process import ChildProcess
from supervisor.shell.nested import NestedSupervisor
from supervisor.shell.nested_process import Arguments, NestedProcess
from supervisor.shell.plan import ChildStart, Service
from tests.conformance import specs
from tests.conformance.real_worker import Place

RESTING = frozenset({ChildState.UNDEFINED, ChildState.RUNNING})


class TappedProcess(NestedProcess):
    """A nested supervisor whose process has a tap."""

    def _kind(self, fds: list[str]) -> launches.Kind:
        kind = super()._kind(fds)
        assert isinstance(kind.run, launches.Entry)
        entry = launches.Entry("tests.conformance.real_tap:main", kind.run.argument)
        return msgspec.structs.replace(kind, run=entry)


class TappedActor(Actor):
    """Hosts a supervisor, and writes down what it is told."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.name = self.path.rpartition("/")[2]
        self._trace = os.open(f"{self.shell.runtime_dir}/trace", os.O_WRONLY | os.O_CLOEXEC)

    def note(self, kind: str, child: str, value: Any = "") -> None:
        """Write a line of the trace."""
        os.write(self._trace, json.dumps([self.name, kind, child, value]).encode() + b"\n")

    def report(self, report: ev.Report) -> None:
        """Write a supervisor report to the trace."""
        reason = [report.reason.kind.value, _cause(report.reason.cause)]
        self.note("report", report.child, [report.context.value, *reason, report.count])

    def postpone_report(self, report: ev.Report) -> None:
        """Write it at once: what is observed after a step includes its reports."""
        self.shell.loop.post(lambda: self._on_report(report))

    def close(self) -> None:
        """It has ended."""
        os.close(self._trace)

    def kind_of(self, start: ChildStart) -> type[ChildProcess]:
        """Give nested supervisors a tap too."""
        kind = super().kind_of(start)
        return TappedProcess if kind is NestedProcess else kind

    def deliver(self, event: ev.Event) -> None:
        """Write down what has become of a child, and pass it on."""
        match event:
            case ev.Started():
                self.note("start", event.child)
            case ev.StartIgnored():
                self.note("ignore", event.child)
            case ev.StartFailed():
                self.note("fail", event.child)
                cause = _cause(event.reason.cause)
                event = replace(event, reason=replace(event.reason, cause=cause))
            case ev.Exited():
                self.note("stop", event.child, event.reason.kind.value)
        super().deliver(event)

    def ask(self, request: ev.Request, on_reply: Any) -> None:
        """Make an API call as the scenario has it."""
        site = self.shell.runtime_dir
        match request:
            case ev.StartChild(spec):
                kind = None
                if self.state.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
                    kind = self.state.spec.children[0].type
                request = ev.StartChild(startable(spec, self.path, site, kind))
            case ev.ChangeSpec(spec) if spec is not None:
                request = ev.ChangeSpec(supervisor_mapping(spec, self.path, site))
        self.call(request, on_reply)


def _cause(cause: str) -> str:
    """Say in OTP's words that a start failed because its plan said so."""
    return "start_failed" if cause == "exception:StartError" else cause


def at_rest(state: State) -> bool:
    """Whether a supervisor has nothing under way."""
    busy = state.tasks or state.mailbox or any(state.waiting.values())
    still = all(c.state in RESTING and c.other is None for c in state.children.values())
    return state.phase is Phase.RUNNING and not busy and still


def states(state: State) -> dict[str, str]:
    """What a supervisor says of its children."""
    return {entry.id: entry.state for entry in observe.which_children(state.children)}


def startable(spec: Any, path: str, site: str, kind: ChildType | None = None) -> Any:
    """A child's mapping with what the shell needs as its ``start``."""
    if not isinstance(spec, dict) or not isinstance(spec.get("start"), specs.Plan):
        return spec
    name = str(spec.get("id"))
    nested = kind is ChildType.SUPERVISOR or spec.get("type") == "supervisor"
    definition: SupervisorDefinition | Service = SupervisorDefinition(name)
    if not nested:
        argument = f"{site}\n{name}".encode()
        definition = Service(name, "tests.conformance.real_worker:main", argument)
    start = ChildStart(f"{path}/{name}", f"{path}/{name}", 0, definition)
    return spec | {"start": start}


def supervisor_mapping(spec: Any, path: str, site: str) -> Any:
    """A supervisor's mapping with startable children."""
    if not isinstance(spec, dict) or not isinstance(spec.get("children"), list):
        return spec
    return spec | {"children": [startable(c, path, site) for c in spec["children"]]}


def checked(raw: Any, path: str, site: str) -> SupervisorSpec | validate.SpecError:
    """The core's spec of a supervisor of the scenario."""
    return validate.supervisor(supervisor_mapping(specs.supervisor(raw), path, site))


class Control:
    """Where a nested supervisor is asked."""

    def __init__(self, loop: Loop, actor: TappedActor, path: Path) -> None:
        self.loop, self.actor = loop, actor
        self._resting: list[socket.socket] = []
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        loop.watch(self._listener, lambda _mask: self._accept())

    def stepped(self) -> None:
        """Answer those who wait for rest, after what this step has posted."""
        if self._resting and at_rest(self.actor.state):
            self.loop.post(self._rest)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        self.loop.watch(sock, lambda _mask: self._serve(sock))

    def _serve(self, sock: socket.socket) -> None:
        self.loop.unwatch(sock)
        request = pickle.loads(sock.recv(100_000))
        if request == "rest":
            self._resting.append(sock)
            self.loop.post(self._rest)
        else:
            self.actor.ask(request, lambda answer: self._answer(sock, answer))

    def _rest(self) -> None:
        if at_rest(self.actor.state):
            for sock in self._resting:
                self._answer(sock, states(self.actor.state))
            self._resting.clear()

    def _answer(self, sock: socket.socket, answer: Any) -> None:
        sock.send(pickle.dumps(plain(answer)))
        sock.close()


def plain(answer: Any) -> Any:
    """An answer without what the shell needs, which cannot be sent."""
    if isinstance(answer, Ok) and isinstance(answer.value, ChildSpec):
        return Ok(replace(answer.value, start=None))
    return answer


class TappedSupervisor(NestedSupervisor):
    """A nested supervisor of a scenario: the real one, and what it is asked and heard by."""

    actor_class = TappedActor
    actor: TappedActor
    control: Control | None = None

    def spec_of(self, arguments: Arguments) -> SupervisorSpec:
        """Supervise what the scenario says."""
        place = Place(arguments.runtime_dir, arguments.definition.name)
        spec = checked(place.plan, arguments.path, arguments.runtime_dir)
        assert isinstance(spec, SupervisorSpec)
        return spec

    def _stepped(self) -> None:
        super()._stepped()
        if self.control is not None:
            self.control.stepped()

    def _report(self, report: ev.Report) -> None:
        super()._report(report)
        self.actor.report(report)


def main(link: WorkerLink, argument: bytes, fds: dict[str, int]) -> None:
    """Start as the plan says, and supervise."""
    arguments = msgspec.msgpack.decode(argument, type=Arguments)
    place = Place(arguments.runtime_dir, arguments.definition.name)
    place.begin()
    supervisor = TappedSupervisor(link, arguments, fds)
    supervisor.control = Control(supervisor.loop, supervisor.actor, place.file("ctl"))
    supervisor.run()
