"""What OTP's supervisor does about the ends of its children: a model that runs beside the core.

It hears what the core hears and sees what the core wants done. Of the core it uses the children in
their order, the phase, and which events wait; which ends call for a restart, whom a restart takes
with it, in which order, and when there were too many, it works out for itself.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from supervisor.core.child import Child
from supervisor.core.events import (
    Action,
    Call,
    Event,
    Exited,
    Recycle,
    Reply,
    Report,
    ReportContext,
    Request,
    RestartChild,
    Retry,
    Scale,
    SetTimer,
    Start,
    StartChild,
    Started,
    StartFailed,
    StartIgnored,
    TerminateChild,
    TimerFired,
    TimerKind,
)
from supervisor.core.exits import KILLED, ExitKind
from supervisor.core.machine import State
from supervisor.core.restart import GIVEN_UP
from supervisor.core.results import Ok
from supervisor.core.spec import Restart, Strategy
from supervisor.core.state import Phase
from tests.property.core_requests import GROUPED

Process = tuple[str, int]
AT_WORK = (Phase.BOOTING, Phase.RUNNING)


@dataclass
class Due:
    """A restart that was not decided yet: of which process, and whether it counts."""

    incarnation: int
    blameless: bool = False


@dataclass
class Round:
    """A boot, or the restart of a group. ``todo``: the starts to come; None: stops come first."""

    culprit: str
    todo: list[str] | None = None


@dataclass
class Model:
    """Told of every step, and then of each start, stop and reply of it in turn."""

    state: State  # after the step
    live: set[Process] = field(default_factory=set)
    halted: set[Process] = field(default_factory=set)  # told to end
    successors: set[Process] = field(default_factory=set)  # of a recycle, until they take over
    abandoned: set[Process] = field(default_factory=set)  # successors of what ended for good
    restarts: set[Process] = field(default_factory=set)  # started by a restart
    due: dict[str, Due] = field(default_factory=dict)
    decided: set[str] = field(default_factory=set)  # to be started in this very step
    round: Round | None = None
    booting: bool = True
    was_of: dict[str, str | None] = field(default_factory=dict)  # the pools before the step
    served: bool = False  # the last step may have served calls that had waited
    times: list[int] = field(default_factory=list)
    calls: dict[object, Request] = field(default_factory=dict)  # not answered yet

    # --- what is heard -------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """An event comes, before the core has seen it."""
        match event:
            case Call(ref, request):
                self.calls[ref] = request
            case Exited(child, incarnation, reason, blameless):
                permanent = self.children[child].spec.restart is Restart.PERMANENT
                abnormal = reason.kind in (ExitKind.CRASH, KILLED.kind)
                transient = self.children[child].spec.restart is Restart.TRANSIENT
                wanted = permanent or (transient and abnormal)
                self.ended((child, incarnation), wanted, blameless)
            case StartFailed(child, incarnation):
                process = (child, incarnation)
                if process in self.restarts - self.halted and self.state.phase in AT_WORK:
                    self.due[child] = Due(incarnation)
                    if self.round is not None:
                        self.round.todo = []  # later ones of the round stay down
                self.forget(process)
            case StartIgnored(child, incarnation):
                self.forget((child, incarnation))

    def ended(self, process: Process, wanted: bool, blameless: bool) -> None:
        """A process has ended; it concerns its child if it was the child's, and not told to."""
        child, incarnation = process
        its_own = process not in self.halted | self.successors
        self.forget(process)
        if its_own and self.state.phase in AT_WORK:
            if wanted:
                self.due.setdefault(child, Due(incarnation, blameless))
            else:
                self.abandoned |= {one for one in self.successors if one[0] == child}

    def forget(self, process: Process) -> None:
        """A process is no more."""
        for kind in (self.live, self.halted, self.successors, self.abandoned, self.restarts):
            kind.discard(process)

    def look(
        self, before: State, event: Event, after: State, actions: tuple[Action, ...], now: float
    ) -> None:
        """The core has taken the event: which restarts did it decide upon?"""
        self.state = after
        self.was_of = {name: child.spec.pool for name, child in before.children.items()}
        # Calls that had waited are served in the very step that ends the supervisor, before that.
        waited = any(isinstance(one, Call) for one in parked(before))
        self.served = before.phase is not Phase.STOPPING and waited
        if before.phase is Phase.NEW:
            self.round = Round("", list(after.children))
        given_up = [
            one for one in actions
            if isinstance(one, Report) and one.context is ReportContext.SHUTDOWN
        ]  # fmt: skip
        victims = [one.child for one in given_up if one.reason == GIVEN_UP]
        if after.phase is Phase.RUNNING or given_up:
            for culprit in dict.fromkeys(self.decisions(before, event, actions, victims)):
                self.decide(culprit, victims, now)
        assert not victims, "gives up though nothing had to be restarted"

    def decisions(
        self, before: State, event: Event, actions: tuple[Action, ...], victims: list[str]
    ) -> Iterator[str]:
        """Whose restart was decided in a step: a report says so of an end, not of a retry."""
        put_off = {
            one.timer.child for one in actions
            if isinstance(one, SetTimer) and one.timer.kind is TimerKind.BACKOFF
        }  # fmt: skip
        for one in actions:
            if isinstance(one, Report) and one.context is ReportContext.CHILD_TERMINATED:
                if one.child not in self.due:
                    assert before.children[one.child].spec.restart is Restart.TEMPORARY
                elif one.child not in put_off:
                    yield one.child
        yield from self.retried(before, event, actions, victims)

    def retried(
        self, before: State, event: Event, actions: tuple[Action, ...], victims: list[str]
    ) -> Iterator[str]:
        """Whose restart was tried again in a step, unless a call came before the retry."""
        by_hand = {one.child for one in actions if isinstance(one, Start) and one.wanted}
        for one in actions:
            if isinstance(one, Reply) and isinstance(one.value, Ok):
                request = self.calls.get(one.ref)
                by_hand |= {request.child} if isinstance(request, TerminateChild) else set()
        heard = [event]
        if isinstance(event, TimerFired) and event.timer.kind is TimerKind.BACKOFF:
            heard = [Retry(event.timer.child, event.timer.incarnation)]
        for retry in (*parked(before), *heard):
            if not isinstance(retry, Retry) or retry in parked(self.state):
                continue
            due = self.due.get(retry.child)
            is_served = self.state.phase is Phase.RUNNING or retry.child in victims
            is_served &= retry.child in self.children and retry.child not in by_hand
            if is_served and due is not None and due.incarnation == retry.incarnation:
                yield retry.child

    def decide(self, culprit: str, victims: list[str], now: float) -> None:
        """A restart is decided upon: is it one too many, and does the core find that too?"""
        due = self.due.pop(culprit)
        gives_up = culprit in victims
        if gives_up:
            victims.remove(culprit)
        spec = self.state.spec
        if not due.blameless:
            self.times.append(math.floor(now))
        used = sum(time >= math.floor(now) - spec.period for time in self.times)
        too_many = not due.blameless and used > spec.intensity
        assert gives_up == too_many, f"{used} of {spec.intensity} restarts; gives up: {gives_up}"
        if gives_up:
            return
        if self.grouped:
            assert not (self.round and self.round.todo), "a round was left unfinished"
            self.round = Round(culprit)
        elif heir := {one for one in self.successors if one[0] == culprit}:
            self.successors -= heir  # it becomes the restart
            self.restarts |= heir
        else:
            self.decided.add(culprit)

    # --- what is done --------------------------------------------------------------------------

    def start(self, process: Process, pool: str | None, *, wanted: bool) -> None:
        """A process is started: for a call, by the boot, or by a restart; and in its turn."""
        child = process[0]
        if wanted:
            called = self.is_called_for(child, {pool}, RestartChild, Recycle, StartChild)
            assert called, "nobody wants it"
            if any(one[0] == child for one in self.live):
                self.successors.add(process)
            self.due.pop(child, None)
        elif not self.booting and not self.grouped:
            assert child in self.decided, f"a restart of {child}, which nothing calls for"
            self.decided.discard(child)
        else:
            self.start_in_turn(child)
        if not wanted and not self.booting:
            assert self.children[child].spec.restart is not Restart.TEMPORARY
            self.restarts.add(process)
        self.live.add(process)

    def up(self) -> None:
        """The boot is over."""
        assert self.round is not None
        assert not self.round.todo, "up before all were started"
        self.booting = False

    def start_in_turn(self, child: str) -> None:
        """All of a group are down before the first of them is started; then they come in order."""
        assert self.round is not None, f"a restart of {child}, which nothing calls for"
        if self.round.todo is None:
            group = self.group(self.round.culprit)
            assert not {one for one in self.live if one[0] in group}, "started before all are down"
            self.due = {name: due for name, due in self.due.items() if name not in group}
            self.round.todo = [
                name for name in group
                if self.children[name].spec.restart is not Restart.TEMPORARY
            ]  # fmt: skip
        assert self.round.todo[:1] == [child], f"{child} is started before {self.round.todo}"
        del self.round.todo[0]

    def halt(self, process: Process, event: Event) -> None:
        """A process is told to end: at the end of all, for a call, or with its group; in turn."""
        assert process not in self.halted, "told twice to end"
        child = process[0]
        self.halted.add(process)
        if self.state.phase not in AT_WORK:
            self.check_end(child)
            return
        if self.takes_over(process, event):
            return
        if process in self.abandoned or self.is_called_for(
            child, {self.was_of.get(child), self.pool(child)}, TerminateChild
        ):
            return
        assert self.grouped, f"a stop of {child}, which nothing calls for"
        assert self.round is not None, f"a stop of {child}, which nothing calls for"
        assert self.round.todo is None, "a stop after the first start of a round"
        group = self.group(self.round.culprit)
        assert child in group, f"a stop of {child} by a restart of {self.round.culprit}"
        self.check_later_are_gone(child, group)

    def check_end(self, child: str) -> None:
        """At the end, whoever was started later is gone before."""
        if self.served or self.state.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
            return
        if child in self.children:
            self.check_later_are_gone(child, list(self.children))

    def check_later_are_gone(self, child: str, group: list[str]) -> None:
        """Those behind a child that is stopped are gone; slots of one pool stop together."""
        for later in group[group.index(child) + 1 :]:
            if self.pool(later) is None or self.pool(later) != self.pool(child):
                is_live = later in {name for name, _ in self.live}
                assert not is_live, f"{child} is stopped before {later}"

    def takes_over(self, process: Process, event: Event) -> bool:
        """Whether the old process of a recycled child makes room; its successor is the child's."""
        match event:
            case Started(child, incarnation):
                successor = (child, incarnation)
            case TimerFired(timer) if timer.kind is TimerKind.SOAK:
                successor = (timer.child, timer.incarnation)
            case _:
                return False
        if successor not in self.successors or process[0] != child_of(successor):
            return False
        assert process[1] < successor[1]
        self.successors.discard(successor)
        return True

    def reply(self, ref: object, is_ok: bool) -> None:
        """A call is answered."""
        request = self.calls.pop(ref)
        if isinstance(request, TerminateChild) and is_ok:
            self.due.pop(request.child, None)

    def check_step(self) -> None:
        """What was decided in a step is done in it."""
        self.due = {name: due for name, due in self.due.items() if name in self.children}
        if self.state.phase is Phase.RUNNING:
            assert not self.decided, f"no restart of {self.decided}"

    def check_rest(self) -> None:
        """Nothing is left to be done."""
        assert not self.due, f"no restart of {set(self.due)}"
        assert self.round is None or self.round.todo == [], f"a round is left: {self.round}"

    # --- what is known -------------------------------------------------------------------------

    @property
    def children(self) -> Mapping[str, Child]:
        """The children, in start order."""
        return self.state.children

    @property
    def grouped(self) -> bool:
        """Whether the end of one child concerns others."""
        return self.state.spec.strategy in GROUPED

    def pool(self, child: str) -> str | None:
        """The pool a child is a slot of."""
        known = self.children.get(child)
        return known.spec.pool if known is not None else None

    def group(self, culprit: str) -> list[str]:
        """Whom a restart takes with it, in start order; slots of one pool are not after another."""
        order = list(self.children)
        if self.state.spec.strategy is Strategy.ONE_FOR_ALL:
            return order
        later = order[order.index(culprit) + 1 :]
        pool = self.pool(culprit)
        return [culprit, *(name for name in later if pool is None or self.pool(name) != pool)]

    def is_called_for(self, child: str, pools: set[str | None], *kinds: type) -> bool:
        """Whether a call about a child is being served; the number of slots is one about them.

        ``pools``: that it is a slot of, or was before a change of its spec in the same step.
        """
        waiting = {one.ref for one in parked(self.state) if isinstance(one, Call)}
        for ref, request in self.calls.items():
            if ref in waiting:
                continue
            if isinstance(request, Scale) and request.pool in pools:
                return True
            if isinstance(request, kinds) and name_of(request) == child:
                return True
        return False


def parked(state: State) -> tuple[Event, ...]:
    """The events that wait to be served."""
    return (*state.mailbox, *chain.from_iterable(state.waiting.values()))


def child_of(process: Process) -> str:
    """The child that a process is of."""
    return process[0]


def name_of(request: Request) -> str | None:
    """The child that a request is about."""
    if isinstance(request, StartChild):
        return str(request.spec.id)
    return getattr(request, "child", None)
