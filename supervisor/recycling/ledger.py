"""What is known of every worker: samples, baseline and trend; made into the arbiter's census.

A cheap look is taken at every process each time, an exact one only where it matters: at those that
are near a limit, and at all others in turn, for as much time as there is to spend. From one exact
look to the next private memory is estimated by what the cheap one has moved since.
"""

import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from supervisor.core.census import SlotView
from supervisor.core.trend import slope
from supervisor.observe.snapshot import WorkerStatus
from supervisor.process import sample

#: Seconds after it is ready, and messages, from which on a worker counts as warmed up.
BASELINE_AFTER, BASELINE_MESSAGES = 30.0, 10
#: Samples of private memory that are kept of each worker.
SAMPLES = 60
#: Of those, so many are shown.
SHOWN = 12
#: Seconds between two exact looks at a worker that is well within its limits.
EXACT_EVERY = 30.0
#: The part of its soft limit from which on every look at a worker is exact.
NEAR = 0.7
#: The part of one processor that exact looks at workers within their limits may take, and the
#: seconds of it that are saved up at most, or owed.
SHARE, SAVED = 0.005, 0.5
#: A worker that has grown less than this since it was fresh has no trend worth computing.
GROWN = 1.1


@dataclass(slots=True)
class Account:
    """What is known of one process."""

    pid: int
    generation: int
    started: int  # ticks: tells it from another process of the same number
    lot: float
    born: float  # monotonic seconds: when it got ready
    private: int = 0
    screen: int = 0  # at the last exact look
    exact_at: float = float("-inf")
    fresh: int | None = None  # private, when it got ready
    baseline: int | None = None
    warm: bool = False  # it is ready, and has done enough for a baseline, or nothing
    fresh_threads: int = 1
    threads: int = 1
    fds: int | None = None  # None: not ours to see
    nofile: int = 1024
    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    @property
    def trend(self) -> float | None:
        """Bytes a second that it grows by; None if that is not known, or not worth knowing."""
        if not self.samples or self.private <= GROWN * self.samples[0][1]:
            return None
        return slope(self.samples)

    def recent(self, now: float) -> list[tuple[float, int]]:
        """Return a dozen of the samples, the last one last: how many seconds ago, and bytes."""
        some = list(self.samples)[:: -(SAMPLES // SHOWN)]
        return [(round(now - at, 1), round(private)) for at, private in reversed(some)]


def _fresh(account: Account, age: float) -> int:
    """Return what a process had before it began to leak, if it does: all but its steady growth."""
    growth = max(0.0, account.trend or 0.0) * age
    first = account.samples[0][1] if account.samples else 0.0
    return round(max(min(first, account.private), account.private - growth))


class Ledger:
    """Keeps the accounts of all workers.

    Args:
        host: makes the lots of this machine's workers differ from those of another one.
        clock: monotonic seconds.

    """

    def __init__(self, host: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._host, self._clock = host, clock
        self.accounts: dict[str, Account] = {}
        self._allowance = 0.0  # seconds that may be spent on exact looks
        self._looked_at = clock()

    def look(self, workers: list[WorkerStatus], softs: dict[str, float], now: float) -> None:
        """Measure every worker that has a process.

        Args:
            workers: all slots.
            softs: by path, the bytes near which a worker is watched closely.
            now: Unix seconds, the clock of the workers' states.

        """
        clock = self._clock()
        # Looks at the near ones cost as much as they do: what they owe must not stop all others.
        owed = max(-SAVED, self._allowance)
        self._allowance = min(SAVED, owed + SHARE * (clock - self._looked_at))
        self._looked_at = clock
        live: dict[str, Account] = {}
        for worker in workers:
            if worker.pid is not None and worker.state != "starting":
                account = self._measured(worker, softs.get(worker.path, 0.0), now)
                if account is not None:
                    live[worker.path] = account
        self.accounts = live

    def view(self, worker: WorkerStatus, pool: str) -> SlotView:
        """Return what is known of a slot, for the arbiter."""
        view = SlotView(
            worker.path,
            pool,
            worker.slot,
            worker.generation,
            ready=worker.state == "ready",
            recycling=worker.recycling,
            messages=worker.progress,
        )
        account = self.accounts.get(worker.path)
        if account is None:
            return view
        return replace(
            view,
            age=max(0.0, self._clock() - account.born),
            private=account.private,
            fresh=account.fresh,
            baseline=account.baseline,
            trend=account.trend,
            fds=account.fds or 0,
            threads=account.threads,
            fresh_threads=account.fresh_threads,
            lot=account.lot,
        )

    def _measured(self, worker: WorkerStatus, soft: float, now: float) -> Account | None:
        assert worker.pid is not None
        vitals = sample.vitals(worker.pid)
        if vitals is None:
            return None
        account = self.accounts.get(worker.path)
        if account is None or (account.pid, account.started) != (worker.pid, vitals.started):
            lot = zlib.crc32(f"{self._host}:{worker.path}".encode()) / 0xFFFFFFFF
            # From here on by a clock that is not set: a leap of an hour makes nobody old.
            born = self._clock() - max(0.0, now - (worker.ready_at or now))
            account = Account(worker.pid, worker.generation, vitals.started, lot, born)
            account.fresh_threads = vitals.threads
            account.nofile = sample.nofile(worker.pid) or account.nofile
        account.threads = vitals.threads
        estimate = max(0, account.private + vitals.screen - account.screen)
        clock = self._clock()
        if self._is_due(account, estimate, soft, clock):
            estimate = self._exact(account, vitals.screen, estimate, clock)
            if account.fresh is None and worker.screen:  # what it shares it has shared then, too
                account.fresh = max(0, worker.screen - max(0, vitals.screen - estimate))
        account.private = estimate
        account.screen = vitals.screen
        account.samples.append((clock, estimate))
        worked = worker.progress == 0 or worker.progress >= BASELINE_MESSAGES
        account.warm = worked and worker.ready_at is not None
        self._settle(account)
        return account

    @property
    def is_settled(self) -> bool:
        """Whether every baseline is known."""
        return all(account.baseline is not None for account in self.accounts.values())

    def settle(self) -> bool:
        """Take the baselines that are due, if nobody has run since the last look.

        Returns:
            whether there were any.

        """
        return sum(map(self._settle, self.accounts.values())) > 0

    def _settle(self, account: Account) -> bool:
        age = self._clock() - account.born
        if account.baseline is not None or not account.warm or age < BASELINE_AFTER:
            return False
        account.baseline = _fresh(account, age)
        account.fresh_threads = account.threads
        return True

    def _is_due(self, account: Account, estimate: int, soft: float, clock: float) -> bool:
        if account.exact_at < 0 or (soft and estimate >= NEAR * soft):
            return True
        return clock - account.exact_at >= EXACT_EVERY and self._allowance > 0

    def _exact(self, account: Account, screen: int, estimate: int, clock: float) -> int:
        began = time.thread_time()
        found = sample.private_bytes(account.pid)
        account.fds = sample.descriptors(account.pid)
        self._allowance -= time.thread_time() - began
        account.exact_at = clock
        # Not ours to see (another user's): what is resident and not of files is an upper bound.
        return found if found is not None else (estimate or screen)
