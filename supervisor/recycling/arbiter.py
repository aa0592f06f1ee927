"""The arbiter's process: looks at all workers, decides (`core.recycle`), and has it done.

    root ──snapshot──► census ──► arbitrate ──► recycle, trim ──► root
                         ▲
        /proc ──► ledger ┘

It is a process of its own, so that no look at five hundred workers keeps root from restarting one,
and root has no timer of its own for this. It looks once a second while there is something to watch
closely, and otherwise every `CALM` seconds, and when somebody gets too old. A tree at rest (`rest`)
is then not even woken, and the arbiter hardly is: root nudges it when something changes.

If it dies its successor begins with a clean memory: what is under way goes on, and is seen.
"""

import logging
import math
import os
import socket
import time
from dataclasses import replace

import msgspec

from supervisor.control.client import ControlClient, accepted
from supervisor.control.errors import CommandFailed
from supervisor.control.messages import (
    GetSnapshot,
    QueueCommand,
    RecycleChildren,
    RecycleTemplate,
    Request,
    SnapshotReply,
    TrimChildren,
)
from supervisor.core.census import Seen, SlotView
from supervisor.core.recycle import (
    Action,
    Class,
    Memory,
    StartFirst,
    StopFirst,
    Trim,
    arbitrate,
    bounds_of,
    has_room,
    is_full,
    next_age,
)
from supervisor.core.thresholds import UNLIMITED, Bounds, Limits
from supervisor.definition import SupervisorDefinition
from supervisor.errors import SupervisorError
from supervisor.link import WorkerLink
from supervisor.logs.handler import RecordHandler
from supervisor.logs.record import stderr
from supervisor.observe.snapshot import Snapshot
from supervisor.process import sample
from supervisor.recycling.backstop import Backstop
from supervisor.recycling.census import Census, declared
from supervisor.recycling.departures import Departures
from supervisor.recycling.leaks import Leaks, per_message
from supervisor.recycling.ledger import Ledger
from supervisor.recycling.report import REPORT, Report, SlotReport
from supervisor.recycling.rest import Rest
from supervisor.recycling.template_watch import TemplateWatch

log = logging.getLogger("supervisor.arbiter")

#: Seconds between two looks while something is to be watched closely, and while nothing is.
CLOSE, CALM = 1.0, 30.0
#: A look may take one in so many parts of the time: never above 1 % of one processor.
COST_FACTOR = 100.0
#: The part of a soft limit, or of the budget, from which on a tree is watched closely.
WATCHED = 0.5
#: Seconds from a nudge to the look: who has crashed is restarted first, and root has time for us.
NUDGED = 5.0
#: Seconds after a look in which root comes to rest again.
SETTLED = 0.1
#: Seconds that root has to answer.
DEADLINE = 5.0
#: Seconds between two reports, unless something was done.
REPORT_EVERY = 5.0
#: Seconds until the next look at a tree in which nobody ever runs: nothing is known for ever.
LONGEST_REST = 3600.0


class Options(msgspec.Struct, frozen=True):
    """What an arbiter is told: root's control socket, and the tree.

    ``temp``: where workers have their temp directories; None: they have none of their own.
    """

    control: str
    tree: SupervisorDefinition
    temp: str | None = None


class Arbiter:
    """Looks, decides, has it done."""

    def __init__(self, options: Options) -> None:
        self._control = options.control
        self._ledger = Ledger(socket.gethostname())
        self._census = Census(options.tree, self._ledger, options.temp)
        self._memory = Memory()
        self._softs: dict[str, float] = {}
        limits = [child.limits for _, child in declared(options.tree, options.tree.name)]
        self._explicit = options.tree.memory_budget is not None or any(map(_is_close, limits))
        self._temp_is_limited = any(limit.max_temp for limit in limits)
        self._templates = TemplateWatch(options.tree)
        self._backstop = Backstop()
        self._leaks = Leaks(os.path.dirname(options.control))
        self._departures = Departures()
        self._warned: set[tuple[str, str]] = set()
        self._reported_at = float("-inf")
        self._last: Report | None = None
        self._calm: tuple[Snapshot, Seen] | None = None  # the last look, if it has found nothing
        self._ran: dict[int, int | None] = {}

    def look(self, period: float) -> float:
        """Look once, and do what is to be done; returns the seconds until the next look."""
        began = time.process_time()
        self._calm = None
        try:
            snapshot = self._snapshot()
        except (SupervisorError, OSError):
            return CALM  # root is busy, or not yet there; it is not ours to judge
        if snapshot is None or snapshot.phase == "stopping":
            return CLOSE
        seen = self._census.take(snapshot, self._softs, period)
        self._memory, actions = arbitrate(self._memory, seen, time.monotonic())
        bounds = {slot.path: bounds_of(seen, slot) for slot in seen.slots}
        self._softs = {path: float(bound.soft) for path, bound in bounds.items()}
        accounts = self._ledger.accounts
        self._backstop.confine(
            {accounts[p].pid: b.hard for p, b in bounds.items() if p in accounts}
        )
        views = {slot.path: slot for slot in seen.slots}
        for action in actions:
            if not isinstance(action, Trim):
                self._leaks.recycled(views[action.path], action.why.name.lower())
            self._perform(action)
        self._squeeze(snapshot, seen)
        self._leaks.look(self._memory.records)
        if due := self._templates.look(snapshot, time.monotonic()):
            log.info("recycle the template", extra={"why": due.value})
            self._ask(RecycleTemplate(due.value), "template")
        watched = self._is_to_be_watched(seen)
        period = CLOSE if watched or self._explicit else CALM
        self._report(seen, period, urgent=bool(actions))
        if not watched and (period == CALM or self._nobody_ran()):
            self._calm = snapshot, seen
        period = min(period, max(CLOSE, self._age_left(seen)))
        return max(period, COST_FACTOR * (time.process_time() - began))

    @property
    def is_calm(self) -> bool:
        """Whether the last look has found a tree to which nothing is to happen."""
        return self._calm is not None

    def rest(self) -> Rest:
        """Note what there is, after a look that has found a calm tree."""
        assert self._calm is not None
        snapshot, seen = self._calm
        workers = [account.pid for account in self._ledger.accounts.values()]
        others = {service.pid for service in snapshot.services if service.pid}
        others |= set(sample.children_of(snapshot.pid))
        due = min(self._age_left(seen), LONGEST_REST)
        if self._explicit:
            return Rest(snapshot.pid, workers, others, CLOSE, longest=CLOSE, seconds=due)
        return Rest(snapshot.pid, workers, others, CALM, seconds=due)

    def is_still_so(self, rest: Rest) -> bool:
        """Whether a tree at rest need not be looked at; what was reported is then said again."""
        if not rest.lasts():
            return False
        if not rest.idle:  # files may grow, and no process tells; nor is known what a warm one has
            return self._ledger.is_settled and not self._temp_is_limited and self._say_again(rest)
        if self._ledger.settle():
            self._note_baselines(rest.wait)
        return self._say_again(rest)

    def _note_baselines(self, period: float) -> None:
        assert self._calm is not None
        snapshot, seen = self._calm
        accounts = self._ledger.accounts
        slots = tuple(
            replace(slot, baseline=accounts[slot.path].baseline) if slot.path in accounts else slot
            for slot in seen.slots
        )
        self._calm = snapshot, replace(seen, slots=slots)
        self._report(self._calm[1], period, urgent=True)

    def _say_again(self, rest: Rest) -> bool:
        """Say that what was reported last is still so."""
        now = time.monotonic()
        if self._last is not None and now - self._reported_at >= REPORT_EVERY:
            self._reported_at = now
            self._last = msgspec.structs.replace(self._last, at=time.time(), period=rest.wait)
            self.post()
        return True

    def _nobody_ran(self) -> bool:
        """Whether no worker has run from one look to the next."""
        before = self._ran
        self._ran = {one.pid: sample.ran_ns(one.pid) for one in self._ledger.accounts.values()}
        return self._ran == before and None not in before.values()

    def _age_left(self, seen: Seen) -> float:
        """Return the seconds until something is too old."""
        ages = next_age(seen) if seen.running else math.inf
        return min(ages, self._templates.age_left)

    def _snapshot(self) -> Snapshot | None:
        with ControlClient(self._control, DEADLINE) as client:
            reply = client.request(GetSnapshot())
        return reply.snapshot if isinstance(reply, SnapshotReply) else None

    def _perform(self, action: Action) -> None:
        request: Request
        match action:
            case Trim(path):
                request = TrimChildren(path)
            case StartFirst(path, why, patience):
                request = RecycleChildren(path, _cause(why), patience=patience, wait=False)
                log.info("recycle", extra={"child": path, "why": why.name.lower()})
            case StopFirst(path, why, patience):
                request = RecycleChildren(
                    path, _cause(why), stop_first=True, patience=patience, wait=False
                )
                log.warning("recycle, stopping first", extra={"child": path, "why": why.name})
        self._ask(request, action.path)

    def _squeeze(self, snapshot: Snapshot, seen: Seen) -> None:
        """Have consumers given half as much at once while there is no memory for more."""
        for queue in snapshot.queues:
            name, squeezed = str(queue["name"]), bool(queue.get("squeezed"))
            if not squeezed and is_full(seen):
                log.warning("no memory is left: half as much at once", extra={"queue": name})
                self._ask(QueueCommand("squeeze", queue=name), name)
            elif squeezed and has_room(seen):
                log.info("there is memory again: as much at once as before", extra={"queue": name})
                self._ask(QueueCommand("relax", queue=name), name)

    def _ask(self, request: Request, path: str) -> None:
        try:
            with ControlClient(self._control, DEADLINE) as client:
                accepted(client.request(request))
        except CommandFailed as refused:  # it ended meanwhile, say: the next look will show
            log.info("refused", extra={"child": path, "problem": str(refused)})
        except (SupervisorError, OSError) as error:
            log.warning("no answer", extra={"child": path, "problem": str(error)})

    def _is_to_be_watched(self, seen: Seen) -> bool:
        if not seen.running or is_full(seen) or self._memory.deferred:
            return True
        if seen.used > WATCHED * seen.policy.budget:
            return True
        if any(record.order or record.trimming for record in self._memory.records.values()):
            return True
        return any(slot.private > WATCHED * self._softs[slot.path] for slot in seen.slots)

    def close(self) -> None:
        """Leave nothing behind."""
        self._backstop.close()

    # --- what is told -------------------------------------------------------------------------

    def _report(self, seen: Seen, period: float, *, urgent: bool) -> None:
        now = time.monotonic()
        if not urgent and now - self._reported_at < REPORT_EVERY:
            return
        self._reported_at = now
        bounds = {slot.path: bounds_of(seen, slot) for slot in seen.slots}
        warnings: dict[str, list[str]] = {}
        for slot in seen.slots:
            if oddity := bounds[slot.path].oddity:
                warnings.setdefault(oddity.name.lower(), []).append(slot.path)
                self._warn_once(slot.path, oddity.value)
        for deferral in self._memory.deferred:
            if deferral.because.startswith("recycle_"):
                warnings.setdefault(deferral.because, []).append(deferral.path)
        if self._templates.is_blocked:
            warnings["template_blocked"] = [f"template {self._templates.reports[0].pid}"]
        memory, at = self._memory, time.time()
        pressure = self._census.pressure
        some, full = (pressure.some, pressure.full) if pressure else (None, None)
        slots = {one.path: self._slot_report(seen, one, bounds[one.path]) for one in seen.slots}
        self._last = Report(
            at=at,
            period=period,
            budget=_known(seen.policy.budget),
            used=seen.used if self._census.runtime else None,
            runtime=self._census.runtime,
            available=_known(seen.available),
            pressure_some=some,
            pressure_full=full,
            recycled=memory.recycled,
            failed=memory.failed,
            stopped_first=memory.stopped_first,
            deferred={deferral.path: deferral.because for deferral in memory.deferred},
            warnings=warnings,
            slots=slots,
            templates=self._templates.reports,
            departed=self._departures.see(at, slots),
        )
        self.post()

    def _slot_report(self, seen: Seen, slot: SlotView, bounds: Bounds) -> SlotReport:
        account = self._ledger.accounts.get(slot.path)
        return SlotReport(
            private=slot.private,
            soft=bounds.soft,
            hard=bounds.hard,
            baseline=slot.baseline,
            trend=slot.trend,
            per_message=per_message(slot),
            fds=account.fds if account else None,
            threads=slot.threads,
            temp=slot.temp,
            max_temp=seen.pools[slot.pool].limits.max_temp,
            pid=account.pid if account else 0,
            samples=account.recent(time.monotonic()) if account and slot.trend else [],
        )

    def post(self) -> None:
        """Write the last report down."""
        if self._last is None:
            return
        try:
            REPORT.post(os.path.dirname(self._control), self._last)
        except OSError as error:  # nobody will see it, that is all
            log.warning("no report", extra={"problem": str(error)})

    def _warn_once(self, path: str, problem: str) -> None:
        owner = path.rpartition(".")[0]
        if (owner, problem) not in self._warned:
            self._warned.add((owner, problem))
            log.warning(problem, extra={"child": owner})


def _is_close(limits: Limits) -> bool:
    """Whether a child's limits were set by its author, and so are to be kept to the second."""
    return (
        limits.memory_soft is not None
        or limits.max_messages > 0
        or (limits.memory_hard or UNLIMITED) < UNLIMITED
    )


def _known(size: int) -> int | None:
    return size if size < UNLIMITED else None


def _cause(why: Class) -> str:
    return "memory_hard" if why is Class.HARD else "recycled"


def main(link: WorkerLink, argument: bytes, _fds: dict[str, int]) -> None:
    """Run an arbiter until it is told to stop."""
    options = msgspec.msgpack.decode(argument, type=Options)
    stderr.incarnation = link.context.incarnation
    logging.getLogger().handlers = [RecordHandler()]  # a spare has one already
    logging.getLogger().setLevel(logging.INFO)
    link.stop_on_signal()
    arbiter = Arbiter(options)
    link.on_directory_made = arbiter.post
    link.ready()
    wait, rest = CLOSE, None
    while not link.wait(wait):
        if link.nudged():
            wait, rest = min(wait, NUDGED), None
            continue
        began = time.process_time()
        if rest is not None and arbiter.is_still_so(rest):
            wait = max(rest.wait, COST_FACTOR * (time.process_time() - began))
            continue
        try:
            wait = arbiter.look(wait)
            settled = arbiter.is_calm and not link.wait(SETTLED)
            rest = arbiter.rest() if settled else None
        except Exception:  # an app must not end because nobody looks at its memory
            log.exception("look failed; beginning anew")
            arbiter.close()
            arbiter, wait, rest = Arbiter(options), CALM, None
            link.on_directory_made = arbiter.post
    arbiter.close()
