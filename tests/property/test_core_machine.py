"""The supervision core under every interleaving that a shell, its children and callers can make."""

import copy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervisor.core import observe
from supervisor.core.child import ChildState
from supervisor.core.events import (
    Action,
    Boot,
    Call,
    CancelTimer,
    ChangeSpec,
    Enqueue,
    Event,
    Exited,
    Kill,
    Quit,
    Recycle,
    Reply,
    Report,
    Request,
    RestartChild,
    Retry,
    SetTimer,
    Shutdown,
    Start,
    Started,
    StartFailed,
    StartIgnored,
    Stop,
    TerminateChild,
    Timer,
    TimerFired,
    TimerKind,
    Up,
)
from supervisor.core.exits import KILLED, SHUTDOWN, ExitReason
from supervisor.core.machine import new, step
from supervisor.core.results import Ok
from supervisor.core.spec import Strategy, SupervisorSpec
from supervisor.core.state import Phase
from tests.property.core_model import Model, Process
from tests.property.core_requests import CRASH, GROUPED, NAMES, REASONS, REQUESTS, trees


class Shell(RuleBasedStateMachine):
    """A shell that may answer anything allowed, in any order; it checks what it is told to do."""

    strategy: Strategy

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.starting: set[Process] = set()
        self.up: set[Process] = set()
        self.asked: set[Process] = set()
        self.killed: set[Process] = set()
        self.recycled: set[Process] = set()  # started as a successor
        self.timers: list[Timer] = []
        self.mailbox: list[Event] = []
        self.quit: Quit | None = None
        self.calls = 0
        self.grouped = False  # under a group strategy from the boot on

    @rule(data=st.data(), seed=st.integers(0, 3), booted=st.sampled_from([True, True, True, False]))
    @precondition(lambda self: not hasattr(self, "state"))
    def boot(self, data: st.DataObject, seed: int, booted: bool) -> None:
        """Every run begins with a boot; most with one that is over."""
        tree: SupervisorSpec = data.draw(trees(self.strategy))
        self.state = new(tree, seed)
        self.grouped = tree.strategy in GROUPED
        self.model = Model(self.state)
        self.feed(Boot())
        if booted:
            self.settle()

    # --- what happens --------------------------------------------------------------------------

    @property
    def live(self) -> set[Process]:
        """Every process there is."""
        return self.starting | self.up

    def feed(self, event: Event) -> None:
        """One step, which must leave its argument alone, and doing of what it wants."""
        before = copy.deepcopy(self.state)
        self.model.hear(event)
        after, actions = step(self.state, event, self.now)
        assert before == self.state, "step changed its argument"
        previous, self.state = self.state, after
        if isinstance(event, Call) and isinstance(event.request, ChangeSpec):
            self.grouped = False
        self.model.look(previous, event, after, actions, self.now)
        for action in actions:
            assert self.quit is None, "an action after Quit"
            self.perform(action, event)
        self.model.check_step()
        if previous.phase is Phase.DEAD:
            assert not actions

    def perform(self, action: Action, event: Event) -> None:
        """Do an action, checking that it can be done."""
        match action:
            case Start(child, incarnation, spec, wanted):
                self.check_start(child, incarnation, event)
                self.model.start((child, incarnation), spec.pool, wanted=wanted)
                self.starting.add((child, incarnation))
            case Stop(child, incarnation):
                process = (child, incarnation)
                assert process in self.live, "a stop of a process that is not there"
                assert process not in self.asked, "a second stop"
                self.model.halt(process, event)
                self.asked.add(process)
            case Kill(child, incarnation, cause):
                assert (child, incarnation) in self.live, "a kill of a process that is not there"
                if cause == "brutal_kill":
                    self.model.halt((child, incarnation), event)
                self.killed.add((child, incarnation))
            case SetTimer(timer, delay):
                assert delay >= 0
                assert timer not in self.timers, "a timer set twice"
                self.timers.append(timer)
            case CancelTimer(timer):
                if timer in self.timers:
                    self.timers.remove(timer)
            case Reply(ref, value):
                assert ref in self.model.calls, "a second reply, or one to nobody"
                self.model.reply(ref, isinstance(value, Ok))
            case Enqueue(queued):
                self.mailbox.append(queued)
            case Report(count=count):
                assert count > 0
            case Up():
                assert not self.starting, "up while a child is still starting"
                self.model.up()
            case Quit():
                assert not self.live, "quit while processes are left"
                self.quit = action

    def check_start(self, child: str, incarnation: int, event: Event) -> None:
        """One process a slot, two only by a recycle; group starts are one after the other."""
        ours = {process for process in self.live if process[0] == child}
        recycling = isinstance(event, Call) and isinstance(event.request, Recycle)
        if ours and not recycling:
            # an earlier recycle that waited in the mailbox may begin in any step
            recycling = incarnation in self.seconds(child)
        assert len(ours) <= (1 if recycling else 0), "more processes than one a slot"
        assert all(other < incarnation for _, other in ours), "an incarnation came again"
        if recycling:
            self.recycled.add((child, incarnation))
        elif self.state.phase is Phase.BOOTING or self.grouped:
            together = {c for c, _ in self.starting - self.recycled}
            pools = {self.model.pool(c) for c in together}
            assert not together or pools == {self.model.pool(child)} != {None}, (
                "starts not in order"
            )

    def seconds(self, child: str) -> set[int | None]:
        """The incarnation of the second process of a child that is recycled."""
        views = {view.id: view for view in observe.children(self.state)}
        return {views[child].successor, views[child].retiring} if child in views else set()

    def gone(self, process: Process) -> None:
        """A process is no more."""
        for kind in (self.starting, self.up, self.asked, self.killed):
            kind.discard(process)

    # --- rules ---------------------------------------------------------------------------------

    booted = precondition(lambda self: hasattr(self, "state"))

    @booted
    @rule(data=st.data(), outcome=st.sampled_from(["up", "up", "up", "ignore", "fail"]))
    @precondition(lambda self: self.starting)
    def start_answered(self, data: st.DataObject, outcome: str) -> None:
        """A start succeeds, is declined, or fails; also when it was asked to stop meanwhile."""
        process = data.draw(st.sampled_from(sorted(self.starting)))
        self.answer(process, outcome)

    def answer(self, process: Process, outcome: str) -> None:
        """Answer one start."""
        if outcome == "up":
            self.starting.discard(process)
            self.up.add(process)
            self.feed(Started(*process))
            return
        self.gone(process)
        self.feed(StartIgnored(*process) if outcome == "ignore" else StartFailed(*process, CRASH))

    @booted
    @rule(data=st.data(), reason=REASONS, blameless=st.booleans())
    @precondition(lambda self: self.up)
    def process_ends(self, data: st.DataObject, reason: ExitReason, blameless: bool) -> None:
        """A process that is up ends, asked or not."""
        process = data.draw(st.sampled_from(sorted(self.up)))
        self.gone(process)
        self.feed(Exited(*process, reason, blameless))

    @booted
    @rule(data=st.data())
    @precondition(lambda self: self.up)
    def crashes(self, data: st.DataObject) -> None:
        """A process that is up crashes."""
        process = data.draw(st.sampled_from(sorted(self.up)))
        self.gone(process)
        self.feed(Exited(*process, CRASH))

    @booted
    @rule(data=st.data())
    @precondition(lambda self: self.asked | self.killed)
    def obeys(self, data: st.DataObject) -> None:
        """A process that was asked or forced to end does."""
        process = data.draw(st.sampled_from(sorted(self.asked | self.killed)))
        self.obey(process)

    def obey(self, process: Process) -> None:
        """End a process as it was told to."""
        starting = process in self.starting
        reason = KILLED if process in self.killed else SHUTDOWN
        self.gone(process)
        self.feed(StartFailed(*process, reason) if starting else Exited(*process, reason))

    @booted
    @rule(data=st.data())
    @precondition(lambda self: self.timers)
    def timer_fires(self, data: st.DataObject) -> None:
        """A timer is due."""
        timer = data.draw(st.sampled_from(self.timers))
        self.timers.remove(timer)
        self.now += 1.0
        self.feed(TimerFired(timer))

    @booted
    @rule()
    @precondition(lambda self: self.mailbox)
    def mailbox_served(self) -> None:
        """The supervisor's own message comes."""
        self.feed(self.mailbox.pop(0))

    @booted
    @rule(data=st.data(), kind=st.sampled_from([TerminateChild, RestartChild, Recycle]))
    @precondition(lambda self: self.starting | self.up)
    def call_about_live(self, data: st.DataObject, kind: type[Any]) -> None:
        """Somebody calls about a child that has a process."""
        name, _ = data.draw(st.sampled_from(sorted(self.live)))
        self.call(Recycle(name, "age") if kind is Recycle else kind(name))

    @booted
    @rule(request=REQUESTS)
    def call_at_random(self, request: Request) -> None:
        """Somebody calls."""
        self.call(request)

    def call(self, request: Request) -> None:
        """One call."""
        self.calls += 1
        self.feed(Call(self.calls, request))

    @booted
    @rule(name=NAMES, kind=st.sampled_from(TimerKind), reason=REASONS)
    def stale(self, name: str, kind: TimerKind, reason: ExitReason) -> None:
        """What names an incarnation that never was the child's changes nothing."""
        before = self.state
        for event in (
            Started(name, -1),
            Exited(name, -1, reason),
            StartFailed(name, -1, reason),
            TimerFired(Timer(kind, name, -1)),
            Retry(name, -1),
        ):
            self.state, actions = step(self.state, event, self.now)
            assert not actions
        if not before.mailbox and not before.waiting and not before.tasks:
            assert observe.children(before) == observe.children(self.state)

    @booted
    @rule(seconds=st.sampled_from([0.4, 3.0, 5.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        """The clock goes on."""
        self.now += seconds

    @booted
    @rule(certain=st.integers(0, 9))
    def shutdown(self, certain: int) -> None:
        """The parent ends the supervisor, now and then."""
        if certain == 0:
            self.feed(Shutdown(SHUTDOWN))

    # --- what always holds ---------------------------------------------------------------------

    @invariant()
    def at_most_two_a_slot(self) -> None:
        """Two processes of a slot at most, and then one of them came by a recycle."""
        for name in {child for child, _ in self.live}:
            ours = [process for process in self.live if process[0] == name]
            assert len(ours) <= 2
            if len(ours) == 2:
                assert self.recycled & set(ours)

    @invariant()
    def every_process_is_known(self) -> None:
        """The core accounts for every process there is."""
        if not hasattr(self, "state"):
            return
        known: set[tuple[str, int | None]] = set()
        for view in observe.children(self.state):
            known |= {(view.id, n) for n in (view.incarnation, view.successor, view.retiring)}
        assert self.live <= known

    @invariant()
    def nobody_fails_for_ever(self) -> None:
        """A supervisor that goes on has no child with as many failures in a row as it may have."""
        if hasattr(self, "state") and self.state.phase is Phase.RUNNING:
            for view in observe.children(self.state):
                limit = view.spec.give_up_after
                if limit is not None and view.state is ChildState.RUNNING:
                    assert view.failures < limit

    @invariant()
    def nothing_waits_at_rest(self) -> None:
        """Without a task under way nobody is kept waiting."""
        if hasattr(self, "state") and self.state.phase is Phase.RUNNING and not self.state.tasks:
            assert not self.state.mailbox
            busy = {v.id for v in observe.children(self.state) if v.retiring is not None}
            assert set(self.state.waiting) <= busy

    def teardown(self) -> None:
        """Left alone, everything comes to rest: every call is answered, and a shutdown ends it."""
        if not hasattr(self, "state"):
            return
        self.settle()
        self.keep_crashing()
        if self.quit is None:
            assert not self.model.calls, "a call was never answered"
            self.model.check_rest()
            states = {view.state for view in observe.children(self.state)}
            assert states <= {ChildState.RUNNING, ChildState.UNDEFINED}
            self.feed(Shutdown(SHUTDOWN))
            self.settle()
        assert self.quit is not None, "a shutdown did not end the supervisor"
        assert not self.live

    def keep_crashing(self) -> None:
        """Crash one after the other, so often that most supervisors give up; `Model` judges it."""
        for number in range(6):
            if self.quit is not None or not self.up:
                return
            process = sorted(self.up)[(self.calls + number) % len(self.up)]
            self.gone(process)
            self.feed(Exited(*process, CRASH))
            self.settle()
            if number % 2:  # the first two of three come at once, the third when they still count
                self.now = float(int(self.now)) + self.state.spec.period

    def settle(self) -> None:
        """Answer everything that is asked of the shell, until nothing is."""
        for _ in range(1000):
            if self.asked | self.killed:
                self.obey(min(self.asked | self.killed))
            elif self.starting:
                self.answer(min(self.starting), "up")
            elif self.mailbox:
                self.mailbox_served()
            elif self.timers:
                self.now += 1.0
                self.feed(TimerFired(self.timers.pop(0)))
            else:
                return
        raise AssertionError("never at rest")


CHECKED: Any = settings(
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)


def machine(strategy: Strategy) -> Any:
    """A test of supervisors of one strategy: none of them comes short."""
    case = type(strategy.value, (Shell,), {"strategy": strategy}).TestCase
    case.settings = CHECKED
    return case


TestOneForOne, TestOneForAll, TestRestForOne, TestSimpleOneForOne = map(machine, Strategy)
