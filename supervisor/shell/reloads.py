"""A reload in one supervisor: its children become what a new release declares.

    adopt   what is not declared any more is stopped; flags and specs are changed (OTP's change of
            specs). Nothing else happens to what runs.
    roll    child by child, in list order: what is new is started; what runs old code, or by an old
            spec, is replaced, the new process being ready before the old one stops.

The two halves are apart so that the whole tree has adopted before the first process is replaced:
whatever dies meanwhile is started as the new release declares it. A child that owns a port
(``ready="tcp:PORT"``) is stopped first. None of this counts for intensity. What could not be
replaced stays as it was, and is remembered: the next reload goes on with it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from supervisor.core import events as ev
from supervisor.core.child import Child, ChildState
from supervisor.core.results import Error, Ok
from supervisor.core.spec import ChildSpec, SupervisorSpec
from supervisor.definition import ChildDefinition, SupervisorDefinition
from supervisor.shell.actor import Actor
from supervisor.shell.child_process import ChildProcess
from supervisor.shell.nested_process import NestedProcess
from supervisor.shell.phase import Phase
from supervisor.shell.plan import ChildStart, as_mapping, is_changed, supervisor_spec
from supervisor.shell.recycles import Done, Recycles, taking
from supervisor.shell.uplink import Adopt, Answer, Command

#: Of so many children that are to be replaced, one is under way at a time.
PART = 10
CAUSE = "reload"

Answered = Callable[[Answer], None]


class Reloads:
    """Changes the children of one actor to what a new release declares."""

    def __init__(self, actor: Actor, recycles: Recycles) -> None:
        self._actor, self._recycles = actor, recycles
        self._new: set[str] = set()  # children that were never started
        self._stale: dict[str, int] = {}  # child -> the last incarnation that is an old one

    # --- adopt --------------------------------------------------------------------------------

    def adopt(self, change: Adopt, answered: Answered) -> None:
        """Take over specs; ``answered`` once all supervisors below have."""
        actor = self._actor
        actor.shell.preload = change.preload
        numbers, unwanted = _numbers(change.definition, actor.state.spec, self._children)
        spec = supervisor_spec(change.definition, actor.path, numbers)
        declared = {child.id for child in spec.children}
        removed = [key for key in reversed(list(actor.state.children)) if key not in declared]
        gather = _Gather(partial(self._change, spec, unwanted, change, answered))
        for key in removed:
            self._remove(key, gather.part())
        gather.close()

    @property
    def _children(self) -> Mapping[str, Child]:
        return self._actor.state.children

    def _remove(self, key: str, done: Done) -> None:
        def stopped(_result: Ok | Error) -> None:
            self._actor.call(ev.DeleteChild(key), lambda _result: done(Ok()))

        self._actor.call(ev.TerminateChild(key), stopped)

    def _change(
        self,
        spec: SupervisorSpec,
        unwanted: list[str],
        change: Adopt,
        answered: Answered,
        _problems: list[str],
    ) -> None:
        before = {key: child.spec for key, child in self._children.items()}

        def changed(result: Ok | Error) -> None:
            if isinstance(result, Error):
                answered(Answer(change.token, False, f"{spec.id}: {result}", result.code))
                return
            self._mark(spec, unwanted, before, change.renew)
            self._pass_on(change, answered)

        self._actor.call(ev.ChangeSpec(as_mapping(spec)), changed)
        for key in unwanted:
            self._actor.call(ev.DeleteChild(key), lambda _result: None)

    def _mark(
        self,
        spec: SupervisorSpec,
        unwanted: list[str],
        before: Mapping[str, ChildSpec],
        renew: bool,
    ) -> None:
        """Note what is to be started, and what is to be replaced."""
        now = self._actor.state.numbers
        declared = {child.id: child for child in spec.children if child.id not in unwanted}
        self._new = (self._new | declared.keys() - before.keys()) & declared.keys()
        stale = {key for key in self._stale if self._is_old(key)}
        for key, child in declared.items():
            known = before.get(key)
            if known is not None and ((renew and _runs_app(child)) or is_changed(known, child)):
                stale.add(key)
        self._stale = dict.fromkeys(stale & declared.keys(), now)

    def _pass_on(self, change: Adopt, answered: Answered) -> None:
        """Have the supervisors below adopt. One that is not up is started anew in its turn."""

        def adopted(problems: list[str]) -> None:
            answered(Answer(change.token, not problems, "; ".join(problems), "partly_failed"))

        gather = _Gather(adopted)
        for below in change.definition.children:
            process = self._recycles.process(below.name)
            if not isinstance(below, SupervisorDefinition) or below.name in self._new:
                continue
            self._stale.pop(below.name, None)
            if isinstance(process, NestedProcess) and process.phase is Phase.READY:
                message = Adopt(change.token, below, change.preload, change.renew)
                process.adopt(message, taking(gather.part()))
            elif process is not None:
                self._stale[below.name] = process.incarnation
        gather.close()

    # --- roll ---------------------------------------------------------------------------------

    def roll(self, token: int, answered: Answered) -> None:
        """Start what is new and replace what is old; ends at the first that fails."""

        def rolled(problems: list[str]) -> None:
            answered(Answer(token, not problems, "; ".join(problems), "partly_failed"))

        keys = deque(key for key in self._children if self._is_due(key))
        gather = _Gather(rolled)
        for _ in range(max(1, len(keys) // PART)):
            self._lane(keys, token, gather.part())
        gather.close()

    def _is_due(self, key: str) -> bool:
        nested = isinstance(self._recycles.process(key), NestedProcess)
        return nested or key in self._new or self._is_old(key)

    def _is_old(self, key: str) -> bool:
        process = self._recycles.process(key)
        return process is not None and process.incarnation <= self._stale.get(key, -1)

    def _lane(self, keys: "deque[str]", token: int, done: Done) -> None:
        """Bring one child after the other up to date."""
        if not keys:
            done(Ok())
            return
        key = keys.popleft()

        def finished(result: Ok | Error) -> None:
            if isinstance(result, Error):
                keys.clear()
                done(Error(result.code, f"{self._actor.path}/{key}: {result}"))
            else:
                self._lane(keys, token, done)

        self._update(key, token, finished)

    def _update(self, key: str, token: int, done: Done) -> None:
        process = self._recycles.process(key)
        if key in self._new:
            self._start(key, done)
        elif process is None:
            done(Ok())  # whatever is started from now on is new
        elif isinstance(process, NestedProcess) and not self._is_old(key):
            process.command(Command(token, "roll", process.path), taking(done))
        elif not self._is_old(key):
            done(Ok())
        elif process.slot.recycling:
            process.slot.after_recycle.append(lambda: self._update(key, token, done))
        else:
            self._replace(key, process, done)

    def _start(self, key: str, done: Done) -> None:
        self._new.discard(key)

        def started(result: Ok | Error) -> None:
            there = isinstance(result, Error) and result.code in ("running", "restarting")
            done(Ok() if there else result)

        self._actor.call(ev.RestartChild(key), started)

    def _runs(self, key: str) -> bool:
        child = self._children.get(key)
        return child is not None and child.state is ChildState.RUNNING

    def _replace(self, key: str, process: ChildProcess, done: Done) -> None:
        def replaced(result: Ok | Error) -> None:
            if isinstance(result, Ok) or not self._is_old(key):  # or it died, and a new one came
                self._stale.pop(key, None)
                done(Ok())
            elif not self._runs(key):
                done(Ok())  # it is on its way out, and the next one is new
            else:
                done(result)

        if process.phase is Phase.STARTING or isinstance(process, NestedProcess):
            self._recycles.restart(key, replaced)
        else:
            first = _owns_port(process.start)
            command = Command(0, "recycle", process.path, cause=CAUSE, stop_first=first)
            self._recycles.replace(key, process, command, replaced)


class _Gather:
    """Waits for several outcomes; ``done`` gets the problems."""

    def __init__(self, done: Callable[[list[str]], None]) -> None:
        self._done = done
        self._open = 1  # until `close`
        self._problems: list[str] = []

    def part(self) -> Done:
        """Return what takes one outcome."""
        self._open += 1

        def take(result: Ok | Error) -> None:
            if isinstance(result, Error):
                self._problems.append(result.detail or result.code)
            self.close()

        return take

    def close(self) -> None:
        """One less to wait for."""
        self._open -= 1
        if not self._open:
            self._done(self._problems)


def _numbers(
    definition: SupervisorDefinition, spec: SupervisorSpec, children: Mapping[str, Child]
) -> tuple[dict[str, list[int]], list[str]]:
    """Say which slots each child is to have, and which of them only for its spec to be known.

    A child whose declared count has not changed keeps the slots that it has: it may have been
    scaled, even to nothing, or its workers may have ended for good.
    """
    declared = {
        child.pool: child.start.definition.count
        for child in spec.children
        if isinstance(child.start, ChildStart)
        and isinstance(child.start.definition, ChildDefinition)
    }
    numbers: dict[str, list[int]] = {}
    unwanted: list[str] = []
    for one in definition.children:
        if isinstance(one, ChildDefinition) and declared.get(one.name) == one.count:
            slots = [key for key, child in children.items() if child.spec.pool == one.name]
            numbers[one.name] = [int(key.rpartition(".")[2]) for key in slots] or [0]
            if not slots:
                unwanted.append(f"{one.name}.0")
    return numbers, unwanted


def _runs_app(spec: ChildSpec) -> bool:
    assert isinstance(spec.start, ChildStart)
    definition = spec.start.definition
    return isinstance(definition, ChildDefinition) and definition.command is None


def _owns_port(start: ChildStart) -> bool:
    definition = start.definition
    return isinstance(definition, ChildDefinition) and definition.ready.startswith("tcp:")
