"""Reaping: how a template learns of ends, and makes sure that nothing is left of what ended.

An end is seen in three steps: the dead process is looked at but not reaped (its number, and its
group's, so cannot be used again), its group is killed, then it is reaped. What escaped from the
group was adopted by the template and is known by its tag: it is killed, again and again, until
none is left (if it forks without end: by `supervisor.process.roundup`). Only then is the end
reported. In the usual case there is nothing to hunt, and all of that costs one look at the list of
our children for the first end of a pass, and one for all the others.

An heir (`supervisor.process.heirs`) is woken as soon as nothing is left of the dead process, which
may be before it is reaped.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.loop import Loop, TimerHandle
from supervisor.process import messages
from supervisor.process.connection import Process
from supervisor.process.family import Children, kill_with_group, tag_of
from supervisor.process.roundup import round_up

#: Seconds until an end is reported though a descendant does not die (it is in the kernel).
HUNT_DEADLINE = 2.0
#: Descendants that came up one after the other: more of them are being forked.
CROWD = 16
_LOOK = os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT


@dataclass(slots=True)
class _End:
    """An end that is not reported yet: something descended from the process may be left."""

    process: Process
    status: int
    usage: tuple[float, float, int]  # user and system seconds, largest resident set in bytes
    heir: int = 0  # that was woken
    escaped: int = 0


class Reaper:
    """Reaps a template's children.

    Args:
        loop: the template's loop.
        ended: told of each process that has ended, once nothing is left of it.
        suspended: told when a process is stopped (True) or continued (False).

    """

    def __init__(
        self,
        loop: Loop,
        ended: Callable[[Process, messages.Exited], None],
        suspended: Callable[[Process, bool], None],
    ) -> None:
        self.processes: dict[int, Process] = {}  # by pid: forked by us, not reaped
        self._loop, self._tell_ended, self._tell_suspended = loop, ended, suspended
        self._ends: dict[int, _End] = {}  # by tag
        self._children = Children()
        self._hunted: set[int] = set()
        self._given_up: set[int] = set()  # tags; their orphans are still killed when they show up
        self._deadline: TimerHandle | None = None

    def signal(self, pid: int, signum: int, *, group: bool) -> None:
        """Signal a process that has not been reaped, so is still the one that was meant."""
        try:
            (os.killpg if group else os.kill)(pid, signum)
        except ProcessLookupError:
            if group:  # it has not made its group yet
                self.signal(pid, signum, group=False)
        except PermissionError:  # it made itself another user's (sudo)
            pass

    def kill_group(self, pid: int) -> None:
        """Kill a process and its group."""
        self.signal(pid, signal.SIGKILL, group=True)

    def strangers(self) -> set[int]:
        """Return our children that we have not forked: adopted orphans."""
        if len(self._children) == len(self.processes):  # they are all ours: mostly it is so
            return set()
        return self._children.pids() - self.processes.keys()

    def reap(self) -> None:
        """Take note of all that has ended, stopped or continued."""
        is_first = True
        while True:
            try:
                seen = os.waitid(os.P_ALL, 0, _LOOK)
            except ChildProcessError:
                break
            if seen is None:
                break
            if seen.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
                self._end(seen.si_pid, seen.si_status)
                if is_first:  # mostly it is the only one, and somebody waits for a restart
                    self._hunt()
                is_first = False
            else:
                os.waitid(os.P_PID, seen.si_pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
                if process := self.processes.get(seen.si_pid):
                    self._tell_suspended(process, seen.si_code != os.CLD_CONTINUED)
        self._hunt()

    def rehearse(self, process: Process) -> None:
        """Go through what an end takes, with a process that may live, and without consequences.

        A fork shares every page of ours, and the first write to one of them then copies it. There
        were 50 such copies between an end and its report, a third of that time. Done right after
        the fork of a spare they keep nobody waiting.
        """
        self.signal(process.pid, 0, group=True)
        self.strangers()
        process.connection.heirs.rehearse(process.pid)
        _exited(_End(process, 0, (0.0, 0.0, 0)))

    def _end(self, pid: int, code: int) -> None:
        process = self.processes.get(pid)
        heir = 0
        if process is not None:
            self.kill_group(pid)
            heirs = process.connection.heirs
            if heirs.follow(process.serial) and not self.strangers():  # nothing is left of it
                heir = heirs.succeed(process.serial, code)  # before the rest: it is waited for
            del self.processes[pid]
        _, status, usage = os.wait4(pid, 0)
        self._hunted.discard(pid)
        if process is not None:
            times = (usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024)
            self._ends[process.tag] = _End(process, status, times, heir)

    def _hunt(self) -> None:
        """Kill what the dead have left behind; report those that have left nothing."""
        if not self._ends and not self._given_up:
            return
        left = set()
        for pid in self.strangers():
            tag = tag_of(pid)
            if tag is None:
                continue
            if end := self._ends.get(tag):
                left.add(tag)
                if pid not in self._hunted:
                    self._hunted.add(pid)
                    end.escaped += 1
            if end or tag in self._given_up:
                kill_with_group(pid)
        for tag in left:
            if self._ends[tag].escaped > CROWD:
                round_up(tag)
        for tag in self._ends.keys() - left:
            self._report(self._ends.pop(tag))
        if left and self._deadline is None:
            self._deadline = self._loop.call_later(HUNT_DEADLINE, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        for tag in list(self._ends):
            self._given_up.add(tag)
            self._report(self._ends.pop(tag))

    def _report(self, end: _End) -> None:
        process = end.process
        end.heir = end.heir or process.connection.heirs.succeed(process.serial, end.status)
        self._tell_ended(process, _exited(end))


def _exited(end: _End) -> messages.Exited:
    user, system, rss = end.usage
    serial, status = end.process.serial, end.status
    return messages.Exited(serial, status, user, system, rss, end.escaped, end.heir)
