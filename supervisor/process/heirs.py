"""Heirs: spares that a template wakes by itself when the process that they are to follow has ended.

A supervisor can tell ahead what it would do at an abnormal end: its core decides, and decides the
same while nothing changes. Where that is a plain restart it names an heir. The template, which
reaps the dead, then wakes it, and the supervisor hears of both in one message: the restart does not
wait for it. What it decides otherwise meanwhile (a stop, say) comes over the same connection, so it
comes before the end or after it, and the template needs no rules of its own.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple


class _Heir(NamedTuple):
    pid: int  # our child, not reaped
    word: int  # the eventfd that it waits for


class Heirs:
    """The heirs that one supervisor has named. All processes are known by serial."""

    def __init__(self) -> None:
        self._heirs: dict[int, _Heir] = {}
        self._legacies: dict[int, tuple[int, int]] = {}  # of processes: the heir, and as which

    def name(self, heir: int, pid: int, word: int, processes: Sequence[int]) -> None:
        """Make a process the heir of others, as the n-th of which (from 1) it is to be woken.

        Args:
            heir: its serial; what was said of it before is forgotten.
            pid: its pid; it is our child.
            word: the eventfd that it waits for, taken over.
            processes: whom it may follow.

        """
        self.disinherit(heir)
        self._heirs[heir] = _Heir(pid, word)
        for number, process in enumerate(processes, start=1):
            self._legacies[process] = heir, number

    def follow(self, process: int) -> bool:
        """Whether one of them would, when this process ends."""
        return process in self._legacies

    def succeed(self, process: int, status: int) -> int:
        """A process has ended and left nothing; returns the heir that was woken, or 0.

        ``status``: 0 if it was exit status 0, which wakes nobody.
        """
        legacy = self._legacies.get(process)
        if legacy is None:
            return 0
        heir, number = legacy
        is_woken = status != 0 and _lives(self._heirs[heir].pid)
        if is_woken:
            os.eventfd_write(self._heirs[heir].word, number)
            os.sched_yield()  # to the heir: our own words can wait
        self.disinherit(heir)
        return heir if is_woken else 0

    def rehearse(self, pid: int) -> None:
        """Go through a succession without consequences: see `Reaper.rehearse`.

        ``pid``: of any child of ours.
        """
        self.follow(0)  # nobody's serial
        self.succeed(0, 0)
        _lives(pid)

    def disinherit(self, heir: int) -> None:
        """This one inherits nothing any more. Harmless if it is no heir."""
        known = self._heirs.pop(heir, None)
        if known is not None:
            os.close(known.word)
            self._legacies = {of: one for of, one in self._legacies.items() if one[0] != heir}

    def close(self) -> None:
        """The supervisor is gone: nobody inherits anything."""
        for heir in list(self._heirs):
            self.disinherit(heir)


def _lives(pid: int) -> bool:
    """Whether a child of ours has not died: who was killed together with another follows nobody."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:  # and was reaped
        return False
