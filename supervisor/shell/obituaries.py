"""Obituaries: what a supervisor tells of deaths that nobody had planned, for the crash reports.

Between an end and its restart an end is only noted, in a list. All else is done a fifth of a
second later, when the replacement runs: what there is to know is put together and sent towards the
janitor, which writes it. Nothing here touches a disk or waits, and of a storm little is told.
"""

import os
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from supervisor.core.exits import ExitReason
from supervisor.crashes.death import Death, Untold, Word
from supervisor.crashes.redaction import redacted
from supervisor.definition import ChildDefinition
from supervisor.loop import Loop, TimerHandle
from supervisor.observe.snapshot import LastExit, WorkerStatus
from supervisor.shell.plan import ChildStart
from supervisor.shell.slots import Slot
from supervisor.shell.verdict import Ending

#: Seconds from a death until it is told of; from one that is left out until that is said.
DELAY, UNTOLD_DELAY = 0.2, 1.0
#: Characters of what a process said of itself, which may be anything.
MAX_CAUSE, MAX_MESSAGE = 300, 2_000
#: Deaths in a second that one supervisor tells of at most.
PER_SECOND = 20


class End(NamedTuple):
    """What is kept of a process that has ended; ``code``: which version of the app it had."""

    slot: Slot
    start: ChildStart
    status: WorkerStatus
    ending: Ending
    reason: ExitReason
    last: LastExit
    was_ready: bool
    code: str
    stacks: str


class Obituaries:
    """Notes deaths, and tells of them.

    Args:
        loop: of this process.
        say: says a word towards the janitor; returns whether it could.

    """

    def __init__(self, loop: Loop, say: Callable[[Word], bool]) -> None:
        self._loop, self._say = loop, say
        self._ends: list[End] = []
        self._decisions: dict[str, str] = {}  # by path
        self._untold = 0
        self._timer: TimerHandle | None = None  # until the untold are told of
        self._second, self._told = 0, 0

    def note(self, end: End) -> None:
        """Keep what is left of a process, to tell of it later."""
        if not self._ends:
            self._loop.call_later(DELAY, self.tell)
        self._ends.append(end)

    def decide(self, path: str, decision: str) -> None:
        """Note what the supervisor did about the last death at a path, if it did not restart it."""
        if self._ends:
            self._decisions[path] = decision

    def tell(self) -> None:
        """Tell of all that were noted."""
        ends, self._ends = self._ends, []
        decisions, self._decisions = self._decisions, {}
        now = time.monotonic()
        last = {end.slot.path: end for end in ends}  # whom a decision is about
        for end in ends:
            decision = decisions.get(end.slot.path, "") if last[end.slot.path] is end else ""
            recent, is_told = end.slot.frequency.add(now)
            if is_told and self._may_tell(int(now)):
                self.pass_on(obituary(end, recent, decision))
            else:
                self._leave_out(1)

    def pass_on(self, word: Word) -> None:
        """Say what this supervisor, or one below it, has to tell."""
        if isinstance(word, Untold):
            self._leave_out(word.count)
        elif not self._say(word):
            self._leave_out(1)

    def _may_tell(self, second: int) -> bool:
        if second != self._second:
            self._second, self._told = second, 0
        self._told += 1
        return self._told <= PER_SECOND

    def _leave_out(self, count: int) -> None:
        self._untold += count
        if self._timer is None:
            self._timer = self._loop.call_later(UNTOLD_DELAY, self._tell_untold)

    def _tell_untold(self) -> None:
        self._timer = None
        count, self._untold = self._untold, 0
        if not self._say(Untold(count)):
            self._leave_out(count)


def obituary(end: End, recent: int, decision: str) -> Death:
    """Put together what is known of a death."""
    definition, ending = end.start.definition, end.ending
    own = definition.settings.env if isinstance(definition, ChildDefinition) else {}
    return Death(
        path=end.slot.path,
        child=end.start.owner,
        slot=end.start.slot,
        pid=end.status.pid,
        end=msgspec.structs.replace(end.last, cause=end.last.cause[:MAX_CAUSE], detail=""),
        started_at=end.status.started_at,
        was_ready=end.was_ready,
        decision=decision or _decision(end),
        code=end.code,
        exception=ending.exception[:MAX_CAUSE],
        message=redacted(ending.message[:MAX_MESSAGE], own, os.environ),
        traceback=redacted(ending.traceback, own, os.environ),
        stacks=end.stacks,
        evidence=_evidence(end),
        recent=recent,
    )


def _decision(end: End) -> str:
    if end.ending.stop_requested:
        return "replaced"
    if not end.was_ready:
        return "its start has failed"
    restart = getattr(end.start.definition, "restart", "permanent")
    again = restart == "permanent" or (restart == "transient" and not end.reason.is_normal)
    return "restart" if again else f"no restart: it is {restart}"


def _evidence(end: End) -> list[str]:
    ending, found = end.ending, []
    if ending.out_of_memory:
        found.append("the kernel has counted an out-of-memory kill that was no other process's")
    if ending.stop_requested:
        found.append(f"it had been asked to end: {ending.stop_cause}")
    if ending.kill_cause:
        found.append(f"its supervisor has sent SIGKILL: {ending.kill_cause}")
    elif end.last.signal == "SIGKILL" and not ending.out_of_memory:
        found.append("SIGKILL, not sent by its supervisor")
    if ending.gave_up:
        found.append(f"it gave up: {ending.gave_up}")
    if ending.suspect:
        found.append("it worked on a message that had ended a process before")
    if ending.exited is not None and ending.exited.escaped:
        found.append(f"descendants that had left its process group: {ending.exited.escaped}")
    return found
