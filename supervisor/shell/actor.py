"""One supervisor at work: the pure core, its mailbox, and the interpreter of its actions.

Events are posted to the loop's mailbox and stepped one at a time; what the core answers is
performed at once, in order, in one exhaustive `match`. Nothing is decided here.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, assert_never

from supervisor.core import events as ev
from supervisor.core.exits import ExitKind, ExitReason
from supervisor.core.machine import State, new, step
from supervisor.core.results import Error
from supervisor.core.spec import SupervisorSpec
from supervisor.core.state import Phase
from supervisor.definition import SupervisorDefinition
from supervisor.loop import TimerHandle
from supervisor.shell.child_process import ChildProcess
from supervisor.shell.heirs import Heirs
from supervisor.shell.nested_process import NestedProcess
from supervisor.shell.plan import ChildStart, Service
from supervisor.shell.service_process import ServiceProcess
from supervisor.shell.slots import Slot, open_slot
from supervisor.shell.surroundings import Shell
from supervisor.shell.worker_process import WorkerProcess

#: Seconds until a report is written.
REPORT_DELAY = 0.002


class Foreseen(NamedTuple):
    """The step of an event that has not come yet: taken from a state, with what came of it."""

    state: State
    event: ev.Event
    outcome: tuple[State, tuple[ev.Action, ...]]


class Actor:
    """Hosts one supervisor in this process.

    Args:
        shell: the surroundings.
        spec: what to supervise.
        path: the supervisor's path; the slots' paths begin with it.
        on_up: called once all children are started.
        on_quit: called with (exit reason, the child whose start failed or None) when all are gone.
        on_report: called with each supervisor report.
        on_step: called after each step, for whoever shows the state.

    """

    def __init__(
        self,
        shell: Shell,
        spec: SupervisorSpec,
        path: str,
        on_up: Callable[[], None],
        on_quit: Callable[[ExitReason, str | None], None],
        on_report: Callable[[ev.Report], None],
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.shell, self.path = shell, path
        self.state: State = new(spec, seed=time.time_ns())
        self.processes: dict[tuple[str, int], ChildProcess] = {}
        self._foreseen: Foreseen | None = None
        self._slots: dict[str, Slot] = {}
        self._timers: dict[ev.Timer, TimerHandle] = {}
        self._replies: dict[int, Callable[[Any], None]] = {}
        self._calls = 0
        self._reports: list[ev.Report] = []  # not written yet
        self._heirs = Heirs(shell, self.processes.values, self._would_do)
        self._on_up, self._on_quit = on_up, on_quit
        self._on_report, self._on_step = on_report, on_step

    def deliver(self, event: ev.Event) -> None:
        """Put an event at the end of the mailbox."""
        self.shell.loop.post(lambda: self._handle(event))

    def foresee(self, event: ev.Event) -> None:
        """Take the step of an event that is all but certain, while nothing else is to be done.

        A step changes nothing but what it returns, so it can be taken before it is due: if that
        event is the next one to come, only its actions are left to be performed.
        """
        if self._foreseen is None and self.shell.loop.is_calm:
            self._foreseen = Foreseen(self.state, event, step(self.state, event, time.monotonic()))

    def _step(self, event: ev.Event) -> tuple[ev.Action, ...]:
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is None or foreseen.state is not self.state or foreseen.event != event:
            self.state, actions = step(self.state, event, time.monotonic())
        else:
            self.state, actions = foreseen.outcome
        return actions

    def _would_do(self, event: ev.Event) -> tuple[ev.Action, ...]:
        return step(self.state, event, time.monotonic())[1]

    def call(self, request: ev.Request, on_reply: Callable[[Any], None]) -> None:
        """Make an API call; ``on_reply`` gets OTP's return value."""
        if self.state.phase is Phase.DEAD:
            self.shell.loop.post(partial(on_reply, self._noproc()))
            return
        self._calls += 1
        self._replies[self._calls] = on_reply
        self.deliver(ev.Call(self._calls, request))

    def _handle(self, event: ev.Event) -> None:
        if isinstance(event, ev.Exited | ev.StartFailed | ev.StartIgnored):
            self.processes.pop((event.child, event.incarnation), None)
        elif isinstance(event, ev.Started) and self.shell.levels.changed:
            self._tell_level(self.processes.get((event.child, event.incarnation)))
        known, is_due = self.state.children, bool(self._reports)
        actions = self._step(event)
        for action in actions:
            self._perform(action)
        if self._reports and not is_due:
            self.shell.loop.call_later(REPORT_DELAY, self._write_reports)
        added = any(isinstance(a, ev.Start) and a.child not in known for a in actions)
        if added or len(self.state.children) < len(known):  # one step may remove and add
            self._forget_removed()
        self._heirs.review_later()
        self._on_step()

    def _tell_level(self, process: ChildProcess | None) -> None:
        """Tell a worker that was started of a level that had been changed before."""
        if isinstance(process, WorkerProcess):
            level = self.shell.levels.of(process.start.path)
            if level is not None:
                process.set_level(level)

    def _perform(self, action: ev.Action) -> None:
        match action:
            case ev.Start():
                self._start(action)
            case ev.Stop():
                self._stop(action)
            case ev.Kill():
                self._kill(action)
            case ev.SetTimer():
                self._set_timer(action)
            case ev.CancelTimer():
                if timer := self._timers.pop(action.timer, None):
                    timer.cancel()
            case ev.Reply():
                assert isinstance(action.ref, int)
                self._replies.pop(action.ref)(action.value)
            case ev.Enqueue():
                self.deliver(action.event)
            case ev.Report():
                self.postpone_report(action)
            case ev.Up():
                self._on_up()
            case ev.Quit():
                self._quit(action)
            case _:
                assert_never(action)

    def postpone_report(self, report: ev.Report) -> None:
        """Keep a report until the restart that it tells of is done: it is in nobody's way then."""
        self._reports.append(report)

    def _write_reports(self) -> None:
        reports, self._reports = self._reports, []
        for report in reports:
            self._on_report(report)

    def _start(self, action: ev.Start) -> None:
        start = self._placed(action)
        slot = self._slots.get(action.child)
        if slot is None:
            try:
                slot = self._slots[action.child] = open_slot(start.path, self.shell.pipes)
            except OSError as error:
                reason = ExitReason(ExitKind.CRASH, f"spawn: {error.strerror}")
                self.deliver(ev.StartFailed(action.child, action.incarnation, reason))
                return
        slot.begin_life(time.monotonic())
        first = self.shell.fresh and slot.starts == 1
        slot.counted = not (action.wanted or first)
        kind = self.kind_of(start)
        process = kind(self.shell, slot, start, action.incarnation, self, action.child)
        process.ending.shutdown = action.spec.shutdown
        self.processes[action.child, action.incarnation] = process
        slot.occupants.append(process)
        self.shell.starts.begin(process, counted=slot.counted)

    def kind_of(self, start: ChildStart) -> type[ChildProcess]:
        """Return what a child is run as."""
        if isinstance(start.definition, SupervisorDefinition):
            return NestedProcess
        if isinstance(start.definition, Service):
            return ServiceProcess
        return WorkerProcess

    def _placed(self, action: ev.Start) -> ChildStart:
        """Give a slot that was added by scaling its own number: it has another slot's spec."""
        start = action.spec.start
        assert isinstance(start, ChildStart)
        path = f"{self.path}/{action.child}"
        if action.spec.pool is None or start.path == path:
            return start
        return replace(start, path=path, slot=int(action.child.rpartition(".")[2]))

    def _stop(self, action: ev.Stop) -> None:
        process = self.processes.get((action.child, action.incarnation))
        if process is not None and not self.shell.starts.withdraw(process):
            process.stop()

    def _kill(self, action: ev.Kill) -> None:
        process = self.processes.get((action.child, action.incarnation))
        if process is not None and not self.shell.starts.withdraw(process):
            process.kill(action.cause)

    def _set_timer(self, action: ev.SetTimer) -> None:
        def fire() -> None:
            process = self.processes.get((action.timer.child, action.timer.incarnation))
            if process is not None and self.shell.starts.is_held(process):
                self._set_timer(action)  # it has not even been begun with
                return
            self._timers.pop(action.timer, None)
            self.deliver(ev.TimerFired(action.timer))

        self._timers[action.timer] = self.shell.loop.call_later(action.delay, fire)

    def _forget_removed(self) -> None:
        for child in [c for c in self._slots if c not in self.state.children]:
            slot = self._slots.pop(child)
            slot.close()
            self.shell.pipes_gone(slot.path)
            self.shell.board.remove(slot.path)

    def _quit(self, action: ev.Quit) -> None:
        self._write_reports()
        for timer in self._timers.values():
            timer.cancel()
        for slot in self._slots.values():
            slot.close()
            self.shell.pipes_gone(slot.path)
        self._slots.clear()
        replies, self._replies = self._replies, {}
        for on_reply in replies.values():  # OTP: exit noproc
            on_reply(self._noproc())
        self.shell.loop.post(partial(self._on_quit, action.reason, action.failed_child))

    def _noproc(self) -> Error:
        return Error("noproc", f"{self.path} has ended")
