"""Recycles under way in one supervisor: planned replacements, slot by slot.

The core replaces one process (`core.replacement`); here it is said how patiently, for which cause,
and what of it is seen in the slot. Of several slots, the next is begun when the one before is done.
"""

import math
from collections.abc import Callable

import msgspec

from supervisor.core import events as ev
from supervisor.core.results import Error, Ok
from supervisor.shell.actor import Actor
from supervisor.shell.child_process import ChildProcess
from supervisor.shell.nested_process import NestedProcess
from supervisor.shell.surroundings import INFO, WARNING
from supervisor.shell.uplink import Answer, Command
from supervisor.shell.verdict import MEMORY_HARD, SHUTDOWN
from supervisor.shell.worker_process import WorkerProcess

#: Seconds that a new process must stay up before it takes over.
SOAK = 2.0
#: The cause of a recycle that cannot wait for that.
EMERGENCY = MEMORY_HARD
#: Seconds that the old one has to finish what it is doing, at least.
DRAIN = 30.0

Done = Callable[[Ok | Error], None]


class Recycles:
    """Replaces processes of one actor's children."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def begin(self, command: Command, keys: list[str], answered: Callable[[Answer], None]) -> None:
        """Recycle children one after the other; stops at the first that fails."""
        if not keys:  # of a supervisor that has none
            answered(Answer(command.token, True, f"recycle {command.path}: done"))
            return
        key, *others = keys

        def done(result: Ok | Error) -> None:
            if isinstance(result, Error):
                problem = f"recycle {command.path}: {key}: {result}"
                answered(Answer(command.token, False, problem, result.code))
            elif others:
                self.begin(command, others, answered)
            else:
                answered(Answer(command.token, True, f"recycle {command.path}: done"))

        self._one(key, command, done)

    def trim(self, key: str) -> Ok | Error:
        """Ask the worker in a slot to give back memory."""
        process = self.process(key)
        if not isinstance(process, WorkerProcess):
            return Error("not_running")
        process.trim()
        return Ok()

    def _one(self, key: str, command: Command, done: Done) -> None:
        process = self.process(key)
        if process is None:
            done(Error("not_running"))
        elif isinstance(process, NestedProcess):
            below = msgspec.structs.replace(command, path=process.start.path)
            process.command(below, taking(done))
        elif process.slot.recycling:
            done(Error("recycling"))
        else:
            self.replace(key, process, command, done)

    def restart(self, key: str, done: Done) -> None:
        """Stop a child and start it again."""

        def stopped(result: Ok | Error) -> None:
            if isinstance(result, Error):
                done(result)
            else:
                self._actor.call(ev.RestartChild(key), done)

        self._actor.call(ev.TerminateChild(key), stopped)

    def process(self, key: str) -> ChildProcess | None:
        """Return the process that serves in a slot."""
        child = self._actor.state.children.get(key)
        return self._actor.processes.get((key, child.incarnation)) if child else None

    def replace(self, key: str, process: ChildProcess, command: Command, done: Done) -> None:
        """Replace the process that serves in a slot, which is not being recycled already."""
        slot, spared = process.slot, process.ending.shutdown
        patience = _patience(command, spared)
        process.ending.stop_cause = command.cause
        process.ending.shutdown = patience if spared is not None else None
        slot.recycling = True
        slot.show()
        log, path = self._actor.shell.log, process.start.path
        log(INFO, "recycling", child=path, cause=command.cause, stop_first=command.stop_first)

        def finished(result: Ok | Error) -> None:
            slot.recycling = False
            if isinstance(result, Ok):
                slot.recycles += 1
            else:
                process.ending.stop_cause, process.ending.shutdown = SHUTDOWN, spared
                log(WARNING, "not recycled", child=path, problem=str(result))
            slot.show()
            done(result)
            waiting, slot.after_recycle = slot.after_recycle, []
            for callback in waiting:
                callback()

        if command.stop_first:
            self._stop_first(key, process, patience, finished)
        else:
            soak = 0.0 if command.cause == EMERGENCY else SOAK
            self._actor.call(ev.Recycle(key, command.cause, soak, patience), finished)

    def _stop_first(self, key: str, process: ChildProcess, patience: float, done: Done) -> None:
        if patience < math.inf:
            cause = process.ending.stop_cause
            self._actor.shell.loop.call_later(patience, lambda: process.kill(cause))
        self.restart(key, done)


def _patience(command: Command, shutdown: float | None) -> float:
    if command.patience is not None:
        return command.patience
    return max(DRAIN, shutdown or 0.0)


def taking(done: Done) -> Callable[[Answer], None]:
    """Return what takes the answer of a supervisor below as the outcome of a call."""
    return lambda answer: done(Ok() if answer.ok else Error(answer.code, answer.message))
