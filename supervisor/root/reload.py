"""A reload: the app is loaded anew, and its tree becomes what it declares now.

    ask ──► LOADING (another template) ──► ADOPTING ──► ROLLING ──► done
               │                              every supervisor    child by child, the new
               └─ does not load, or cannot    takes the specs     process first
                  take over: nothing changed

One at a time: who asks meanwhile is answered by one more reload after it, for the code may have
changed since. An app that does not load, is invalid, or differs in what a running app cannot change
(its name, its queues, its logs) leaves everything as it was.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from supervisor.control.messages import Done, Failed, Reply
from supervisor.definition import SupervisorDefinition, placeless
from supervisor.errors import DefinitionError
from supervisor.loop import Loop
from supervisor.process.messages import Loaded, LoadFailed
from supervisor.root import descriptors, forking, slots
from supervisor.root.services import Services
from supervisor.root.succession import Succession
from supervisor.shell.commands import Commander
from supervisor.shell.surroundings import ERROR, INFO, Shell
from supervisor.shell.uplink import Adopt, Answer

EXIT_PARTLY = 5
EXIT_TRY_LATER = 75
#: Seconds until a reload that meets a template's recycle is tried again.
AGAIN = 0.5
UNCHANGED = "nothing has changed"

Asker = Callable[[Reply], None]


class Reloadable(Protocol):
    """What a reload needs of root."""

    loop: Loop
    shell: Shell
    services: Services
    release: Succession
    definition: SupervisorDefinition | None
    commander: Commander | None

    @property
    def name(self) -> str:
        """The app's."""

    @property
    def state(self) -> str:
        """Where it is in its life: starting, running, stopping."""


class Reload:
    """The reloads of one app, one after the other."""

    def __init__(self, root: Reloadable) -> None:
        self._root = root
        self._askers: list[Asker] = []  # of the one under way
        self._next: list[tuple[bool, Asker]] = []
        self._everything = False
        self._unfinished = False  # the one before could not replace all that it should have
        self._loaded: tuple[SupervisorDefinition, Loaded] | None = None
        self._tokens = 0  # negative: a command's are not

    @property
    def under_way(self) -> bool:
        """Whether one is."""
        return bool(self._askers)

    def ask(self, everything: bool, answer: Asker) -> None:
        """Reload; ``answer`` is called once, when it is done or has failed."""
        self._next.append((everything, answer))
        if not self._askers:
            self._begin()

    def _begin(self) -> None:
        if self._next and not self._askers:
            self._everything = any(everything for everything, _ in self._next)
            self._askers = [answer for _, answer in self._next]
            self._next.clear()
            self._load()

    def _load(self) -> None:
        root = self._root
        if root.state != "running":
            problem = f"{root.name} is {root.state}"
            self._end(Failed("try-later", problem, "try again in a moment", EXIT_TRY_LATER))
            return
        self._loaded = None
        try:
            problem = root.release.begin("reload", self._check, self._taken_over)
        except OSError as error:
            problem = f"no template can be started: {error.strerror}"
        if problem:
            root.shell.log(INFO, "reload waits", problem=problem)
            root.loop.call_later(AGAIN, self._load)

    # --- loading ------------------------------------------------------------------------------

    def _check(self, reply: Loaded) -> str:
        """Decide whether what was loaded takes over."""
        root = self._root
        definition = msgspec.msgpack.decode(reply.definition, type=SupervisorDefinition)
        assert root.definition is not None
        if root.state != "running":
            return f"{root.name} is {root.state}"
        same = bool(reply.code) and reply.code == root.shell.release.code
        renew = self._everything or self._unfinished or not same
        if not renew and placeless(definition) == placeless(root.definition):
            return UNCHANGED
        if problem := refusal(root.definition, definition):
            return problem
        try:
            descriptors.require(definition)
        except DefinitionError as error:
            return error.problem
        self._loaded, self._everything = (definition, reply), renew
        return ""

    def _taken_over(self, outcome: LoadFailed | None) -> None:
        root = self._root
        if outcome is not None:
            self._not_loaded(outcome)
            return
        assert self._loaded is not None
        assert root.commander is not None
        definition, reply = self._loaded
        assert root.definition is not None
        size = slots.reloaded(root.definition, definition, root.shell.board)
        root.shell.starts.resize(size)
        root.definition = definition
        root.services.reload(root.shell, definition)
        self._tokens -= 1
        forks = forking.may_fork(reply, definition, root.shell.log)
        change = Adopt(self._tokens, definition, forks, self._everything)
        root.commander.reloads.adopt(change, self._adopted)

    def _not_loaded(self, outcome: LoadFailed) -> None:
        if outcome.problem == UNCHANGED:
            self._end(Done(f"{self._root.name}: {UNCHANGED}"))
            return
        hint = outcome.help or "nothing was changed; mend it and reload again"
        problem = f"not reloaded: {outcome.problem}"
        self._end(Failed("not-reloaded", problem, hint, 78, outcome.where))

    # --- changing the tree --------------------------------------------------------------------

    def _adopted(self, answer: Answer) -> None:
        assert self._root.commander is not None
        roll = partial(self._rolled, answer.message)
        self._root.commander.reloads.roll(self._tokens, roll)

    def _rolled(self, problem: str, answer: Answer) -> None:
        problems = "; ".join(filter(None, (problem, answer.message)))
        self._unfinished = bool(problems)
        name = self._root.name
        if problems:
            hint = "what is named, and what comes after it, runs as before; its log says why"
            self._end(Failed("partly-failed", f"reloaded in part: {problems}", hint, EXIT_PARTLY))
        else:
            self._end(Done(f"reloaded {name}", [name]))

    def _end(self, reply: Reply) -> None:
        log = self._root.shell.log
        if isinstance(reply, Failed):
            log(ERROR, "not reloaded", problem=reply.message, where=reply.where)
        elif isinstance(reply, Done):
            log(INFO, "reloaded", outcome=reply.message, code=self._root.shell.release.code)
        askers, self._askers = self._askers, []
        for answer in askers:
            answer(reply)
        self._begin()


def refusal(old: SupervisorDefinition, new: SupervisorDefinition) -> str:
    """Say what of a new definition a running app cannot take over; "" if it can."""
    if new.name != old.name:
        return f'the tree is called "{new.name}", and "{old.name}" is running'
    queues, before = placeless(new).queues, placeless(old).queues
    if queues != before:
        differ = {queue.name for queue in queues if queue not in before}
        differ |= {queue.name for queue in before if queue not in queues}
        names = ", ".join(sorted(differ)) or "their order"
        return f"its queues differ ({names}): stop the app and run it again"
    if new.logs != old.logs:
        return "how its logs are kept differs: stop the app and run it again"
    return ""
