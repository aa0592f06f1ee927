"""A world of fake processes in virtual time: supervisors are cores, each with its own mailbox.

Everything that happens is in one of three places: ``signals`` (answers of processes, served first:
a fake process answers at once), ``requests`` (calls, and what supervisors put behind them with
Enqueue; the next is served when the one before is answered, as OTP serves one at a time), and
``timers``. Time passes only when nothing else is left to do.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from supervisor.core import observe, validate
from supervisor.core.events import (
    Action,
    Boot,
    Call,
    CancelTimer,
    Enqueue,
    Event,
    Exited,
    GetChildSpec,
    Handle,
    Kill,
    Quit,
    Reply,
    Report,
    Request,
    SetTimer,
    Shutdown,
    Start,
    Started,
    StartFailed,
    StartIgnored,
    Stop,
    TerminateChild,
    TimerFired,
    Up,
)
from supervisor.core.exits import KILLED, NORMAL, SHUTDOWN, ExitKind, ExitReason
from supervisor.core.machine import State, new, step
from supervisor.core.spec import ChildSpec, ChildType, Strategy
from supervisor.core.validate import SpecError, Where
from tests.conformance import specs
from tests.conformance.ledger import Ledger, Timers
from tests.conformance.orphans import stops_in_time
from tests.conformance.specs import Plan
from tests.conformance.world import Trace

REASONS = {
    "normal": NORMAL,
    "shutdown": SHUTDOWN,
    "shutdown_other": ExitReason(ExitKind.SHUTDOWN_OTHER, "shutdown_other"),
    "crash": ExitReason(ExitKind.CRASH, "crash"),
    "kill": KILLED,
}
MOST_STEPS = 100_000  # of one settling; beyond it the supervisors keep each other busy for ever


@dataclass(eq=False)
class Process:
    """A fake process: a worker, or a supervisor that runs a core."""

    id: str
    incarnation: int
    parent: "Node | None"
    plan: Plan
    node: "Node | None" = None


@dataclass(eq=False)
class Node:
    """A running supervisor."""

    process: Process
    state: State
    up: bool = False
    children: dict[int, Process] = field(default_factory=dict)  # by incarnation

    @property
    def id(self) -> str:
        """The supervisor's id."""
        return self.process.id

    def plan(self, spec: ChildSpec) -> Plan:
        """What is started for a child; an instance adds what it says to its template's."""
        assert isinstance(spec.start, Plan)
        if self.state.spec.strategy is not Strategy.SIMPLE_ONE_FOR_ONE:
            return spec.start
        template = self.state.spec.children[0].start
        assert isinstance(template, Plan)
        return Plan(template.raw | spec.start.raw)


@dataclass(eq=False)
class Ticket:
    """A request that was sent, and its answer."""

    supervisor: str
    request: Request | None
    answer: Any = None
    open: bool = False


class FakeWorld:
    """See the module. Implements ``world.World``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.traces: list[Trace] = []
        self.reports: list[tuple[str, Report]] = []
        self.live: dict[str, Process] = {}
        self.ledger = Ledger()
        self.signals: deque[tuple[Node, Event]] = deque()
        self.requests: deque[Ticket | tuple[Node, Event]] = deque()
        self.timers = Timers()
        self.tickets: list[Ticket] = []
        self.during: dict[str, Sequence[tuple[str, Request | None]]] = {}
        self.refusal = ""

    # --- what a scenario does ------------------------------------------------------------------

    def boot(self, tree: Any) -> str:
        """Start the root supervisor."""
        self.start(None, str(tree["id"]), 0, Plan(tree), is_supervisor=True)
        self.settle()
        return "ok" if self.running("root") else self.refusal

    def running(self, child: str) -> bool:
        """Whether a process of this id is alive and up."""
        process = self.live.get(child)
        return process is not None and (process.node is None or process.node.up)

    def end(self, child: str, reason: str, during: Sequence[tuple[str, Request | None]]) -> None:
        """Make a process end by itself."""
        if during:
            self.during[child] = during
        self.gone(self.live[child], REASONS[reason])

    def call(self, supervisor: str, request: Request) -> None:
        """Send a request."""
        self.send(supervisor, request)

    def shut_down(self) -> None:
        """Ask root to end."""
        self.send("root", None)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        deadline = self.now + seconds
        while self.timers.due is not None and self.timers.due <= deadline:
            self.settle_step()
        self.now = deadline

    def settle(self) -> list[Any]:
        """Run until nothing is left to do."""
        for _ in range(MOST_STEPS):
            if not self.settle_step():
                break
        else:
            raise RuntimeError("not at rest")
        for pending in list(self.during):
            for supervisor, request in self.during.pop(pending):
                self.send(supervisor, request)
            return self.settle()
        answers = [ticket.answer for ticket in self.tickets]
        self.tickets = []
        return answers

    def status(self, supervisor: str) -> str:
        """Alive, dead or never up."""
        process = self.live.get(supervisor)
        if process is not None and process.node is not None and process.node.up:
            return "alive"
        return self.ledger.ends.get(supervisor, "none")

    def states(self, supervisor: str) -> dict[str, str]:
        """What a supervisor says of its children."""
        process = self.live.get(supervisor)
        if process is None or process.node is None or not process.node.up:
            return {}
        state = process.node.state
        return {entry.id: entry.state for entry in observe.which_children(state.children)}

    def attempts(self, child: str) -> int:
        """How often a start was attempted."""
        return self.ledger.attempts.get(child, 0)

    def holder(self, child: str) -> str | None:
        """The supervisor that last started this id."""
        return self.ledger.holders.get(child)

    # --- the loop ------------------------------------------------------------------------------

    def send(self, supervisor: str, request: Request | None) -> None:
        """Queue a request."""
        ticket = Ticket(supervisor, request)
        self.tickets.append(ticket)
        self.requests.append(ticket)

    def settle_step(self) -> bool:
        """Do the next thing; False when there is nothing."""
        if self.signals:
            self.feed(*self.signals.popleft())
        elif self.requests and not any(ticket.open for ticket in self.tickets):
            self.serve(self.requests.popleft())
        elif self.timers.due is not None:
            self.now, action = self.timers.pop()
            action()
        else:
            return False
        return True

    def serve(self, item: Ticket | tuple[Node, Event]) -> None:
        """Hand the next request to its supervisor."""
        if isinstance(item, tuple):
            self.feed(*item)
            return
        process = self.live.get(item.supervisor)
        if process is None or process.node is None or not process.node.up:
            return
        item.open = True
        request = self.up_to_date(item.request)
        self.feed(process.node, Shutdown(SHUTDOWN) if request is None else Call(item, request))

    def up_to_date(self, request: Request | None) -> Request | None:
        """A request as it is served: what its handle is of may have ended since it was sent."""
        if isinstance(request, TerminateChild | GetChildSpec) and request.handle is Handle.LIVE:
            return request if self.running(request.child) else replace(request, handle=Handle.DEAD)
        return request

    def feed(self, node: Node, event: Event) -> None:
        """Step a supervisor that is still there, and do what it wants done."""
        if self.live.get(node.id) is not node.process:
            return
        node.state, actions = step(node.state, event, self.now)
        for action in actions:
            self.perform(node, action)

    def perform(self, node: Node, action: Action) -> None:
        """Do one action of a core."""
        match action:
            case Start(child, incarnation, spec):
                self.sow(child)
                is_supervisor = spec.type is ChildType.SUPERVISOR
                plan = node.plan(spec)
                self.start(node, child, incarnation, plan, is_supervisor=is_supervisor)
            case Stop(_, incarnation):
                self.ask(node.children[incarnation], node)
            case Kill(_, incarnation):
                if incarnation in node.children:
                    self.gone(node.children[incarnation], KILLED)
            case SetTimer(timer, delay):
                fired = TimerFired(timer)
                due = self.now + delay
                self.timers.add(due, (node, timer), lambda: self.feed(node, fired))
            case CancelTimer(timer):
                self.timers.cancel((node, timer))
            case Reply(ref, value):
                assert isinstance(ref, Ticket)
                ref.answer, ref.open = value, False
            case Enqueue(event):
                self.requests.append((node, event))
            case Report():
                self.reports.append((node.id, action))
            case Up():
                self.came_up(node)
            case Quit():
                self.quit(node, action)

    def sow(self, child: str) -> None:
        """A start is in progress: send what was to be sent just then."""
        for supervisor, request in self.during.pop(child, ()):
            self.send(supervisor, request)

    # --- processes -----------------------------------------------------------------------------

    def start(
        self, parent: Node | None, name: str, incarnation: int, plan: Plan, *, is_supervisor: bool
    ) -> None:
        """Attempt a start, as the child's plan says."""
        attempt = self.ledger.attempt(name, parent.id if parent else None)
        outcome = plan.outcomes[min(attempt, len(plan.outcomes)) - 1]
        process = Process(name, incarnation, parent, plan)
        if outcome == "fail":
            self.failed(process, ExitReason(ExitKind.CRASH, "start_failed"))
        elif outcome == "ignore":
            self.traces.append(Trace("ignore", name, attempt))
            self.refusal = "ignore"
            if parent is not None:
                self.signals.append((parent, StartIgnored(name, incarnation)))
        elif is_supervisor:
            self.start_supervisor(process)
        else:
            self.enter(process)
            self.succeeded(process)

    def enter(self, process: Process) -> None:
        """A process exists."""
        self.live[process.id] = process
        if process.parent is not None:
            process.parent.children[process.incarnation] = process

    def start_supervisor(self, process: Process) -> None:
        """Start a core of its own for a supervisor."""
        checked = validate.supervisor(specs.supervisor(process.plan.raw))
        if isinstance(checked, SpecError):
            self.failed(process, ExitReason(ExitKind.CRASH, refused(checked)))
            return
        process.node = Node(process, new(checked))
        self.enter(process)
        self.signals.append((process.node, Boot()))

    def came_up(self, node: Node) -> None:
        """Every child of a supervisor is up."""
        node.up = True
        self.succeeded(node.process)

    def succeeded(self, process: Process) -> None:
        """A start has succeeded."""
        self.traces.append(Trace("start", process.id, self.ledger.success(process.id)))
        if process.parent is not None:
            self.signals.append((process.parent, Started(process.id, process.incarnation)))

    def failed(self, process: Process, reason: ExitReason) -> None:
        """A start has failed."""
        self.traces.append(Trace("fail", process.id, self.attempts(process.id)))
        self.refusal = f"error:{reason.cause}"
        if process.parent is not None:
            failed = StartFailed(process.id, process.incarnation, reason)
            self.signals.append((process.parent, failed))

    def ask(self, process: Process, node: Node) -> None:
        """A process is asked to shut down, and does what its spec says it does then."""
        if process.node is not None:
            self.signals.append((process.node, Shutdown(SHUTDOWN)))
            return
        way = process.plan.raw.get("on_shutdown", "obey")
        if isinstance(way, dict):
            due = self.now + way["delay"] / 1000
            self.timers.add(due, process, lambda: self.gone(process, SHUTDOWN))
        elif way != "ignore":
            self.gone(process, SHUTDOWN if way == "obey" else REASONS[way])

    def quit(self, node: Node, action: Quit) -> None:
        """A supervisor has ended by itself."""
        if node.up:
            self.gone(node.process, action.reason)
        else:
            self.leave(node.process)
            self.failed(node.process, action.reason)

    def gone(self, process: Process, reason: ExitReason) -> None:
        """A process has ended; what is below it has gone with it (``orphans``, not recorded)."""
        self.leave(process)
        parent = process.parent
        simple = parent is not None and parent.state.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
        group = parent.id if parent is not None and simple else None
        self.traces.append(Trace("stop", process.id, reason.kind.value, group))
        if process.node is not None:
            self.ledger.ends[process.id] = f"dead:{reason.kind.value}"
        if parent is not None:
            self.signals.append((parent, Exited(process.id, process.incarnation, reason)))

    def leave(self, process: Process, *, orderly: bool = False) -> None:
        """A process and all below it are no more; ``orderly``: it stops them before it ends."""
        self.timers.cancel(process)
        self.live.pop(process.id, None)
        if process.parent is not None:
            process.parent.children.pop(process.incarnation, None)
        if process.node is None:
            return
        self.timers.cancel_all(process.node)
        for ticket in self.tickets:
            if ticket.open and ticket.supervisor == process.id:
                ticket.open = False
        for child in list(process.node.children.values()):
            if child.node is not None:
                in_time = orderly and stops_in_time(child)
                if child.node.up:
                    self.ledger.ends[child.id] = "dead:shutdown" if in_time else "dead:killed"
                self.leave(child, orderly=in_time or not orderly)
            else:
                self.leave(child)


def refused(error: SpecError) -> str:
    """A refused spec in the words of the recordings."""
    if error.where is Where.TEMPLATE:
        return error.code
    shown = error.code in ("bad_combination", "duplicate_child_name")
    return f"{error.where.value}:{error.code}" + (f":{error.detail}" if shown else "")
