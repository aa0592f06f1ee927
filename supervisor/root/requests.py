"""What root answers to each control request."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from supervisor.control import messages as control
from supervisor.control.paths import resolve
from supervisor.control.peer import Peer
from supervisor.declare.checks import did_you_mean
from supervisor.loop import TimerHandle
from supervisor.observe.snapshot import LastExit
from supervisor.root import slots
from supervisor.root.broker_call import call_broker
from supervisor.root.queue_watch import QueueWatch
from supervisor.root.root import Phase, Root
from supervisor.shell.commands import Answered
from supervisor.shell.plan import counts, declared_paths
from supervisor.shell.recycles import EMERGENCY
from supervisor.shell.surroundings import INFO
from supervisor.shell.uplink import Answer, Command

EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3
EXIT_NO_SUCH_CHILD = 4
EXIT_TRY_LATER = 75

#: Commands of queues that change nothing.
LOOKS = frozenset({"stats", "peek", "dead_list", "dead_show"})

#: What a refusal of the core means to somebody at a terminal.
_HINTS = {
    "simple_one_for_one": "instances of a dynamic supervisor have no names of their own",
    "start_failed": "its log says why",
    "no_slots": 'scale it up first, with "supervisor scale PATH N"',
    "not_running": 'it is stopped, or being restarted: see "supervisor status"',
    "supervisor_down": 'start it first, with "supervisor start", or try again when it is up',
}

_EXIT_CODES = {"not_found": EXIT_NO_SUCH_CHILD, "supervisor_down": EXIT_NOT_RUNNING}


class Requests:
    """Answers control requests about one root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._tokens = 0
        self._levels: dict[str, TimerHandle] = {}  # by path: when a changed log level ends
        self._queues = QueueWatch(root.loop)
        root.shell.board.on_end = self._ended

    def handle(
        self, request: control.Request, peer: Peer, answer: Callable[[control.Reply], None]
    ) -> None:
        """Answer one request, now or later, once."""
        root = self._root
        match request:
            case control.Ping():
                answer(control.Pong(root.identity.name, os.getpid()))
            case control.GetSnapshot():
                if root.definition is None:
                    answer(_later("the app is still being loaded"))
                else:
                    self._queues.ask(
                        root.services.queues_path,
                        lambda facts: answer(control.SnapshotReply(root.snapshot(facts))),
                    )
            case control.StopChildren(path=None):
                self._audit(peer, "stop", root.identity.name)
                root.stop()
                answer(control.Done(f"stopping {root.identity.name}", [root.identity.name]))
            case control.RestartChildren(path=path):
                self._command(peer, "restart", path, 0, answer)
            case control.StopChildren(path=str() as path):
                self._command(peer, "stop", path, 0, answer)
            case control.StartChildren(path=path):
                self._command(peer, "start", path, 0, answer)
            case control.Scale(path=path, count=count):
                self._command(peer, "scale", path, count, answer)
            case control.SetLogLevel():
                self._set_level(peer, request, answer)
            case control.TrimChildren(path=path):
                self._command(peer, "trim", path, 0, answer)
            case control.RecycleChildren(path=path):
                if request.cause == EMERGENCY:
                    self._forewarn(path)
                details = {
                    "cause": request.cause,
                    "stop_first": request.stop_first,
                    "patience": request.patience,
                }
                if not request.wait:
                    answer(control.Done(f"recycling {path}", [path]))
                    answer = _ignore
                self._command(peer, "recycle", path, 0, answer, **details)
            case control.RecycleTemplate(cause=cause):
                self._recycle_template(peer, cause, answer)
            case control.Reload(everything=everything):
                self._audit(peer, "reload", root.identity.name)
                root.reload(everything, answer)
            case control.QueueCommand():
                self._queue(peer, request, answer)

    def _command(
        self,
        peer: Peer,
        verb: str,
        path: str,
        count: int,
        answer: Callable[[control.Reply], None],
        **details: Any,
    ) -> None:
        root = self._root
        if root.tree is None or root.commander is None or root.phase is Phase.STOPPING:
            answer(_later(f"{root.identity.name} is {root.phase.shown}"))
            return
        assert root.definition is not None
        declared = declared_paths(root.definition, root.tree.path)
        known = dict.fromkeys([*root.shell.board.paths(), *declared])
        path = resolve(path, list(known), root.tree.path)
        if path == root.tree.path:
            self._whole(verb, path, answer)
        elif verb == "scale" and path not in counts(root.definition, root.tree.path):
            problem = f"{path} is no child with slots of its own"
            hint = "scale a child: a supervisor has none, and a slot is one"
            answer(control.Failed("not-scalable", problem, hint, EXIT_USAGE))
        else:
            self._audit(peer, verb, path)
            self._tokens += 1
            command = Command(self._tokens, verb, path, count, **details)
            root.commander.apply(command, partial(self._done, command, answer))

    def _done(
        self, command: Command, answer: Callable[[control.Reply], None], outcome: Answer
    ) -> None:
        root = self._root
        if command.verb == "scale" and outcome.ok and root.definition is not None:
            size = slots.scaled(root.definition, root.shell.board, command.path, command.count)
            root.shell.starts.resize(size)
        answer(_reply(command.path, outcome))

    def _forewarn(self, path: str) -> None:
        """Tell the broker whose message is to blame, should the worker have to be killed."""
        worker, broker = self._root.shell.board.worker(path), self._root.services.queues_path
        if worker is not None and worker.pid is not None and broker is not None:
            command = control.QueueCommand("over_memory", ids=[worker.pid])
            call_broker(self._root.loop, broker, command, _ignore)

    def _ended(self, path: str, end: LastExit) -> None:
        """Tell the broker what a worker has died of: it has seen no more than an end.

        And the janitor, that there may be something left of it.
        """
        self._root.services.ended()
        broker = self._root.services.queues_path
        if end.cause == "oom" and broker is not None:
            command = control.QueueCommand("out_of_memory", worker=f"{path}#{end.incarnation}")
            call_broker(self._root.loop, broker, command, _ignore)

    def _recycle_template(
        self, peer: Peer, cause: str, answer: Callable[[control.Reply], None]
    ) -> None:
        root = self._root
        if root.phase is not Phase.RUNNING:
            answer(_later(f"{root.identity.name} is {root.phase.shown}"))
            return
        self._audit(peer, "recycle_template", cause)
        if problem := root.release.recycle(cause):
            answer(_later(f"the template is not recycled: {problem}"))
        else:
            answer(control.Done("recycling the template"))

    def _set_level(
        self, peer: Peer, request: control.SetLogLevel, answer: Callable[[control.Reply], None]
    ) -> None:
        root = self._root
        if root.tree is None or root.commander is None:
            answer(_later(f"{root.identity.name} is {root.phase.shown}"))
            return
        path = resolve(request.path, root.shell.board.paths(), root.tree.path)
        self._audit(peer, f"log_level {request.level or 'default'}", path)
        if timer := self._levels.pop(path, None):
            timer.cancel()
        self._change_level(path, request.level, lambda outcome: answer(_reply(path, outcome)))
        if request.level is not None and request.seconds is not None:
            self._levels[path] = root.loop.call_later(
                request.seconds, lambda: self._change_level(path, None, lambda _answer: None)
            )

    def _change_level(self, path: str, level: str | None, answered: Answered) -> None:
        root = self._root
        assert root.commander is not None
        self._tokens += 1
        root.services.sources.show(path, level)
        root.commander.apply(Command(self._tokens, "log_level", path, level=level), answered)

    def _whole(self, verb: str, path: str, answer: Callable[[control.Reply], None]) -> None:
        if verb == "stop":
            self._root.stop()
            answer(control.Done(f"stopping {path}", [path]))
        else:
            hint = "name a child below it, or stop the app and run it again"
            answer(control.Failed("not-supported", f"cannot {verb} the whole app", hint, 2))

    def _queue(
        self, peer: Peer, command: control.QueueCommand, answer: Callable[[control.Reply], None]
    ) -> None:
        definition, path = self._root.definition, self._root.services.queues_path
        if definition is None or (definition.queues and path is None):
            answer(_later("the queues are not there yet"))
            return
        names = [queue.name for queue in definition.queues]
        if path is None or (command.verb != "stats" and command.queue not in names):
            hint = did_you_mean(command.queue, names, "see them with: supervisor queue list")
            problem = f'there is no queue "{command.queue}"' if names else "the app has no queues"
            answer(control.Failed("no-such-queue", problem, hint, EXIT_NO_SUCH_CHILD))
            return
        if command.verb not in LOOKS:
            self._audit(peer, f"queue {command.verb}", command.queue)
        call_broker(self._root.loop, path, command, answer)

    def _audit(self, peer: Peer, verb: str, path: str) -> None:
        self._root.shell.log(INFO, "command", verb=verb, path=path, uid=peer.uid, by_pid=peer.pid)


def _ignore(_reply: control.Reply) -> None:
    """Nobody waits for the outcome."""


def _reply(path: str, outcome: Answer) -> control.Reply:
    if outcome.ok:
        return control.Done(outcome.message, [path])
    exit_code = _EXIT_CODES.get(outcome.code, 1)
    hint = _HINTS.get(outcome.code, "")
    return control.Failed(outcome.code.replace("_", "-"), outcome.message, hint, exit_code)


def _later(problem: str) -> control.Failed:
    return control.Failed("try-later", problem, "try again in a moment", EXIT_TRY_LATER)
