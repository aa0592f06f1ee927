"""Control commands, carried out by OTP's calls (restart, stop, start, scale), recycles, log levels.

A path names a slot ("shop/web.1"), a Child with all its slots ("shop/web"), or a nested supervisor.
What lies below a nested supervisor is passed on to it. Commands are not failures: none of them
counts for intensity.
"""

from collections.abc import Callable

from supervisor.core import events as ev
from supervisor.core.results import Error, Ok
from supervisor.shell.actor import Actor
from supervisor.shell.levels import covers
from supervisor.shell.nested_process import NestedProcess
from supervisor.shell.recycles import Recycles
from supervisor.shell.reloads import Reloads
from supervisor.shell.uplink import Answer, Command
from supervisor.shell.worker_process import WorkerProcess

Answered = Callable[[Answer], None]

#: OTP's refusals that mean that what was asked for is already so.
ALREADY = {"start": frozenset({"running", "restarting"})}
#: What is done to processes: of a child without slots there are none to do it to.
OF_NONE = frozenset({"stop", "trim"})


class Commander:
    """Carries out commands on the subtree of one actor."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._recycles = Recycles(actor)
        self.reloads = Reloads(actor, self._recycles)

    def apply(self, command: Command, answered: Answered) -> None:
        """Carry out a command; ``answered`` is called exactly once, with the same token."""
        if command.verb == "log_level":
            self._set_level(command, answered)
            return
        if command.verb == "roll":
            self.reloads.roll(command.token, answered)
            return
        below = command.path.removeprefix(self._actor.path + "/")
        first, _, rest = below.partition("/")
        if command.path == self._actor.path:  # passed on to us for all that we have
            self._recycles.begin(command, list(self._actor.state.children), answered)
        elif rest:
            self._forward(first, command, answered)
        elif command.verb != "scale" and not self._keys(first):
            self._of_none(first, command, answered)
        elif command.verb == "recycle":
            self._recycles.begin(command, self._keys(first), answered)
        elif command.verb == "scale":
            outcome = _Outcome(command, [first], answered)
            self._actor.call(ev.Scale(first, command.count), outcome.of(first))
        else:
            self._each(command, self._keys(first), answered)

    def _set_level(self, command: Command, answered: Answered) -> None:
        """Tell all workers at a path, and all supervisors at or above it; it holds from now on."""
        shell = self._actor.shell
        shell.levels.change(command.path, command.level)
        for process in self._actor.processes.values():
            path = process.start.path
            if isinstance(process, NestedProcess):
                if covers(command.path, path) or covers(path, command.path):
                    process.command(command, lambda _answer: None)
            elif isinstance(process, WorkerProcess) and covers(command.path, path):
                process.set_level(shell.levels.of(path) or shell.log_level)
        level = command.level or f"{shell.log_level.lower()} again"
        answered(Answer(command.token, True, f"{command.path} logs at {level}"))

    def _keys(self, name: str) -> list[str]:
        children = self._actor.state.children
        if name in children:
            return [name]
        return [key for key, child in children.items() if child.spec.pool == name]

    def _forward(self, name: str, command: Command, answered: Answered) -> None:
        for (key, _), process in self._actor.processes.items():
            if key == name and isinstance(process, NestedProcess):
                process.command(command, answered)
                return
        answered(_failure(command, "supervisor_down", f"supervisor {name!r} does not run"))

    def _of_none(self, name: str, command: Command, answered: Answered) -> None:
        """Answer a command for a child that is not there, or that was scaled to nothing."""
        if all(child.pool != name for child in self._actor.state.spec.children):
            answered(_failure(command, "not_found", f"no child at {command.path!r}"))
        elif command.verb in OF_NONE:
            answered(Answer(command.token, True, f"{command.verb} {command.path}: done"))
        else:
            answered(_failure(command, "no_slots", "it has no slots"))

    def _each(self, command: Command, keys: list[str], answered: Answered) -> None:
        outcome = _Outcome(command, keys, answered)
        for key in keys:
            done = outcome.of(key)
            match command.verb:
                case "stop":
                    self._actor.call(ev.TerminateChild(key), done)
                case "start":
                    self._actor.call(ev.RestartChild(key), done)
                case "restart":
                    self._recycles.restart(key, done)
                case "trim":
                    done(self._recycles.trim(key))
                case verb:
                    done(Error("unknown_command", verb))


class _Outcome:
    """Gathers the results of several calls into one answer."""

    def __init__(self, command: Command, keys: list[str], answered: Answered) -> None:
        self._command, self._answered = command, answered
        self._missing = set(keys)
        self._errors: list[str] = []
        self._code = ""

    def of(self, key: str) -> Callable[[Ok | Error], None]:
        """Return what takes the result of one call."""

        def take(result: Ok | Error) -> None:
            already = ALREADY.get(self._command.verb, frozenset())
            if isinstance(result, Error) and result.code not in already:
                self._errors.append(f"{key}: {result}")
                self._code = result.code
            self._missing.discard(key)
            if not self._missing:
                self._answered(self._answer())

        return take

    def _answer(self) -> Answer:
        command = self._command
        if self._errors:
            return _failure(command, self._code, "; ".join(self._errors))
        return Answer(command.token, True, f"{command.verb} {command.path}: done")


def _failure(command: Command, code: str, problem: str) -> Answer:
    return Answer(command.token, False, f"{command.verb} {command.path}: {problem}", code)
