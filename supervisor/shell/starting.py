"""Starting processes: at once, or later, while something that comes back is short.

A start is put off, not failed, when a process cannot be made for now: no descriptors are left, the
machine has no room for another process (EAGAIN, ENOMEM), or the tree has restarted so often that
its budget is used up (`supervisor.core.budget`), or processes that were in its slot before cannot
be killed (`left_behind`). Others are not held up meanwhile, and the intensity is not used up by
trying: waiting for room ends with a child's `start_timeout`, waiting for the budget or for the end
of others does not end a start.
"""

import errno
import logging
import random
import time
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from supervisor.core import budget
from supervisor.descriptors import NO_DESCRIPTORS, Reserve
from supervisor.loop import Loop, TimerHandle

#: Errors that pass when others have given back what they hold.
EXHAUSTED = NO_DESCRIPTORS | {
    *(errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT),
    errno.ENOENT,  # the runtime directory was wiped, and is made anew within moments
}
#: Seconds until the first new try at most; doubled for each further one, up to the longest.
FIRST_DELAY = 0.25
LONGEST_DELAY = 5.0
#: Seconds between two records that say that the budget is used up.
COMPLAINT_INTERVAL = 10.0


class Process(Hashable, Protocol):
    """What can be started."""

    @property
    def path(self) -> str:
        """Its slot's path."""

    @property
    def bar(self) -> str:
        """Why it must not be started for now; "" if it may be."""

    def begin(self) -> None:
        """Start it. Raises OSError when nothing was started: it is tried again, or has failed."""

    def spawn_failed(self, problem: str, transient: bool = False) -> None:
        """It is not going to be started."""

    def granted(self, tokens: int) -> None:
        """It has got these tokens of the budget, for those below it."""


class Starts:
    """The starts of one supervisor process.

    Args:
        loop: its loop.
        log: its log.
        more: asks for so many tokens from above; None: we are root, and have the bucket.
        exhausted: told when there were no descriptors for a start but those of the reserve.

    """

    def __init__(
        self,
        loop: Loop,
        log: Callable[..., None],
        more: Callable[[int], None] | None = None,
        exhausted: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop, self._log = loop, log
        self._is_root = more is None
        self._more = more or self._pour
        self._exhausted = exhausted
        self._burst = budget.BURST  # at least
        self._bucket = budget.full(0, time.monotonic())
        self._budget = budget.Budget(budget.SPARE if more else 0)
        self._reserve = Reserve()
        self._tries: dict[Any, int] = {}
        self._retries: dict[Any, tuple[TimerHandle, str]] = {}
        self._rationed: dict[Any, None] = {}
        self._barred: dict[Any, None] = {}
        self._owed = 0  # tokens asked of the bucket
        self._quiet_until = 0.0

    def allow(self, slots: int, burst: int, rate: float) -> None:
        """Fill the bucket for a tree of that many slots."""
        self._burst = burst
        self._bucket = budget.full(slots, time.monotonic(), burst, rate)

    def resize(self, slots: int) -> None:
        """The tree has that many slots now."""
        self._bucket = self._bucket.resized(budget.burst_of(slots, self._burst))

    def begin(self, process: Process, *, counted: bool) -> None:
        """Start a process. ``counted``: it needs a token."""
        if counted and not self._has_token():
            self._rationed[process] = None
            self.want(process, 1)
        else:
            self._begin(process)

    @property
    def has_token(self) -> bool:
        """Whether a restart would be begun at once."""
        if self._budget.is_wanted:
            return False
        if not self._is_root:
            return self._budget.tokens > 0
        return self._bucket.take(1, time.monotonic())[1] == 1

    def want(self, process: Process, tokens: int) -> None:
        """A process needs tokens: for its own start, or for starts below it."""
        self._budget.want(process, tokens)
        self._share()

    def add(self, tokens: int) -> None:
        """Tokens have come from above."""
        self._budget.add(tokens)
        self._share()

    def again(self, process: Process, problem: str) -> None:
        """A start could not be made for now: try it again later."""
        tries = self._tries[process] = self._tries.get(process, 0) + 1
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (tries - 1))
        delay = longest * random.uniform(0.5, 1.0)  # noqa: S311 - not all at once
        self._log(
            logging.WARNING,
            "start postponed",
            child=process.path,
            problem=problem,
            seconds=round(delay, 2),
        )

        def retry() -> None:
            del self._retries[process]
            self._begin(process)

        self._retries[process] = self._loop.call_later(delay, retry), problem

    def is_held(self, process: Process) -> bool:
        """Whether a start waits for a token, or for what bars it."""
        return process in self._rationed or process in self._barred

    def review(self) -> None:
        """What has barred starts may not be there any more."""
        for process in [one for one in self._barred if not one.bar]:
            del self._barred[process]
            self._begin(process)

    def withdraw(self, process: Process) -> bool:
        """A process is to be stopped: if it waits to be started, it has failed to; else False."""
        problem = "stopped before it was started"
        if process in self._rationed:
            del self._rationed[process]
            self._budget.withdraw(process)
        elif process in self._barred:
            del self._barred[process]
        elif process in self._retries:
            timer, problem = self._retries.pop(process)
            timer.cancel()
        else:
            return False
        process.spawn_failed(problem)
        return True

    def over(self, process: Process) -> None:
        """A process has been started, or is gone."""
        self._tries.pop(process, None)

    def close(self) -> None:
        """Give back the descriptors that were kept for bad times."""
        self._reserve.release()

    def gone(self, process: Process) -> None:
        """A supervisor is gone: those below it need no tokens any more."""
        self._budget.withdraw(process)

    def _begin(self, process: Process) -> None:
        if bar := process.bar:
            self._barred[process] = None
            self._log(logging.WARNING, "start waits", child=process.path, problem=bar)
            return
        try:
            try:
                process.begin()
            except OSError as error:
                if error.errno not in NO_DESCRIPTORS:
                    raise
                self._exhausted()
                with self._reserve.lent():
                    process.begin()
        except OSError as error:
            if error.errno in EXHAUSTED:
                self.again(process, error.strerror or "")
            else:
                process.spawn_failed(error.strerror or str(error))

    # --- tokens -------------------------------------------------------------------------------

    def _has_token(self) -> bool:
        """Take a token out of the bucket at once, if it is ours and nobody waits."""
        if not self._is_root or self._budget.is_wanted:
            return False
        self._bucket, taken = self._bucket.take(1, time.monotonic())
        return taken == 1

    def _share(self) -> None:
        while True:
            for process, tokens in self._budget.grants():
                self._grant(process, tokens)
            missing = self._budget.shortage()
            if not missing:
                return
            self._more(missing)
            if not self._budget.tokens:
                return

    def _grant(self, process: Any, tokens: int) -> None:
        if process in self._rationed:
            del self._rationed[process]
            self._begin(process)
        else:
            process.granted(tokens)

    def _pour(self, tokens: int) -> None:
        """Take tokens out of the bucket; what is not there comes later."""
        late = self._owed > 0
        self._owed += tokens
        if not late:
            self._refill()

    def _refill(self) -> None:
        self._bucket, taken = self._bucket.take(self._owed, time.monotonic())
        self._owed -= taken
        self._budget.add(taken)
        if self._owed:
            self._loop.call_later(self._bucket.wait, self._refilled)
            self._complain()

    def _refilled(self) -> None:
        self._refill()
        self._share()

    def _complain(self) -> None:
        now = time.monotonic()
        waiting = self._budget.waiting - self._budget.tokens
        if waiting > 0 and now >= self._quiet_until:
            self._quiet_until = now + COMPLAINT_INTERVAL
            self._log(logging.WARNING, "restarts are slowed down", waiting=waiting)
