"""The template of a release and those that take over from it, one after the other, as planned.

                  recycle            loaded                    last child gone
    SERVING ─────────────────► (successor: LOADING) ──► old: LINGERING ──► closed, reaped
                                       │
                                       └── does not load, or is not the same: given up; the old
                                           one serves on

A reload is the same, but that the successor may be another version, and the workers are replaced
after it has taken over (`supervisor.root.reload`).

A template that lingers is the parent of the workers that it has forked: it makes no new starts,
keeps no spares, and is closed when the last of them has gone. If it dies before, they go with it
and are restarted, as with any template. None of this counts for restart intensity, and a
recycle deploys no code: a successor that has imported another version of the app is refused.
"""

import time
from collections.abc import Callable
from functools import partial

import msgspec

from supervisor.loop import TimerHandle
from supervisor.observe.snapshot import TemplateStatus
from supervisor.process.messages import Loaded, LoadFailed
from supervisor.root.forking import refusal
from supervisor.root.template_keeper import Hooks, TemplateKeeper
from supervisor.shell.surroundings import INFO, WARNING, Shell
from supervisor.shell.templates import Template

#: Templates of earlier turns that may linger; beyond, no other one is made.
MAX_LINGERING = 2
#: Seconds that a successor has to import the app.
LOAD_TIMEOUT = 300.0

#: Looks at what a successor has loaded; returns why it must not take over, or nothing.
Check = Callable[[Loaded], str]
#: Told the outcome: that it has taken over (None), or why it has not.
Ended = Callable[[LoadFailed | None], None]
Make = Callable[[Template, Hooks], TemplateKeeper]


class Succession:
    """Keeps the template of a release, and has another one take over from it.

    Args:
        shell: root's; its ``release`` is the template that makes new starts.
        make: makes the keeper of a template, to be started.
        hooks: who is told of the first load, and that a template cannot be kept up.

    """

    def __init__(self, shell: Shell, make: Make, hooks: Hooks) -> None:
        self._shell, self._make, self._hooks = shell, make, hooks
        self.current = make(shell.release, hooks)
        self._successor: TemplateKeeper | None = None
        self._check: Check = self._same
        self._ended: Ended = self._recycled
        self._replaces = 0  # the pid of the process that it was started to replace
        self._overdue: TimerHandle | None = None
        self._others: list[TemplateKeeper] = []  # they load, linger, or are about to end

    @property
    def keepers(self) -> list[TemplateKeeper]:
        """All that are there, the one that serves first."""
        return [self.current, *self._others]

    def recycle(self, cause: str) -> str:
        """Begin to replace the template; returns why that cannot be done, or nothing."""
        if not self._shell.preload:
            return "the app starts threads or leaves descriptors open: nothing is forked from it"
        return self.begin(cause, self._same, self._recycled)

    def begin(self, cause: str, check: Check, ended: Ended) -> str:
        """Begin to load a successor; returns why that cannot be done, or nothing.

        Args:
            cause: for the log.
            check: called when it has loaded; without an objection it takes over.
            ended: called then, or when it has not loaded.

        """
        if self._successor is not None:
            return "a successor is being loaded"
        if not self._shell.release.attached:
            return "it is being started"
        if len(self._others) >= MAX_LINGERING:
            return f"{len(self._others)} earlier ones still have workers"
        self._check, self._ended = check, ended
        hooks = Hooks(self._loaded, self._load_failed, self._hooks.gave_up)
        successor = self._make(Template(self._shell.loop, self._shell.release.name), hooks)
        successor.start()
        self._log(INFO, "recycling template", cause=cause, successor=successor.pid)
        self._successor, self._replaces = successor, self.current.pid
        self._others.append(successor)
        late = LoadFailed(f"not loaded within {LOAD_TIMEOUT:g} s")
        self._overdue = self._shell.loop.call_later(LOAD_TIMEOUT, partial(self._load_failed, late))
        return ""

    def prune(self) -> None:
        """Forget those that have ended and were reaped."""
        self.current.pids |= {pid for keeper in self._others for pid in keeper.pids}
        self._others = [keeper for keeper in self._others if not keeper.reaped]

    def status(self) -> list[TemplateStatus]:
        """Say what each of them is doing."""
        now = time.monotonic()
        return [
            TemplateStatus(
                name=keeper.template.name,
                pid=keeper.pid,
                state=self._state(keeper),
                age=now - keeper.started_at,
                processes=keeper.template.processes,
                code=keeper.template.code,
            )
            for keeper in self.keepers
        ]

    def _state(self, keeper: TemplateKeeper) -> str:
        if keeper.retired:
            return "lingering"
        return "serving" if keeper.template.attached else "loading"

    def _loaded(self, reply: Loaded) -> None:
        old, successor = self.current, self._successor
        assert successor is not None
        if old.pid != self._replaces or not old.template.attached:
            problem = "the one that it was to replace has died, and was replaced"
        else:
            problem = self._check(reply)
        if problem:
            self._give_up(LoadFailed(problem))
            return
        self._others.remove(successor)
        self._others.append(old)
        self.current, old.retired = successor, True
        self._shell.replace_release(successor.template)
        self._log(INFO, "template recycled", old=old.pid, lingers=old.template.processes)
        self._settle(None)

    def _same(self, reply: Loaded) -> str:
        if problem := refusal(reply):
            return problem
        if reply.code != self.current.template.code:
            return "the code on disk has changed: a recycle deploys nothing"
        return ""

    def _load_failed(self, reply: LoadFailed) -> None:
        self._give_up(msgspec.structs.replace(reply, problem=f"it does not load: {reply.problem}"))

    def _give_up(self, reply: LoadFailed) -> None:
        assert self._successor is not None
        self._successor.retired = True
        self._successor.close()
        self._settle(reply)

    def _settle(self, outcome: LoadFailed | None) -> None:
        self._successor = None
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        self._ended(outcome)

    def _recycled(self, outcome: LoadFailed | None) -> None:
        if outcome is not None:
            self._log(WARNING, "template not recycled", problem=outcome.problem)

    def _log(self, level: int, event: str, **fields: object) -> None:
        name, pid = self._shell.release.name, self.current.pid
        self._shell.log(level, event, template=name, pid=pid, **fields)
