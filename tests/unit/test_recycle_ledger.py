"""What the ledger knows of a process: this one."""

import mmap
import os
import subprocess
import time

import msgspec
import pytest

from supervisor.memory import screen_bytes
from supervisor.observe.snapshot import WorkerStatus
from supervisor.process import sample
from supervisor.recycling.ledger import BASELINE_AFTER, EXACT_EVERY, Ledger

MIB = 1 << 20
NOW = 1_800_000_000.0


class Clock:
    """Monotonic seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def status(pid: int, ready_for: float = 0.0, **more: object) -> WorkerStatus:
    """A worker that is ready for so long."""
    fields: dict[str, object] = {"generation": 1, "ready_at": NOW - ready_for, **more}
    return WorkerStatus("app/web.0", 0, "ready", pid=pid, **fields)  # type: ignore[arg-type]


def test_private_memory_is_what_grows_with_us() -> None:
    """Forty mebibytes more are seen as such, and make a trend."""
    clock = Clock()
    ledger = Ledger("host", clock)
    kept = []
    seen = []
    for _ in range(5):
        ledger.look([status(os.getpid())], {"app/web.0": 1.0}, NOW)
        seen.append(ledger.view(status(os.getpid()), "app/web"))
        kept.append(taken(10 * MIB))
        clock.now += 1.0
    assert 36 * MIB < seen[-1].private - seen[0].private < 60 * MIB
    assert seen[-1].trend is not None
    assert 5 * MIB < seen[-1].trend < 20 * MIB
    assert seen[0].fds == sample.descriptors(os.getpid())


def test_the_baseline_of_one_that_has_not_run_needs_no_look() -> None:
    """It has what it had; while it is too young, or not warm, there is none."""
    clock = Clock()
    ledger = Ledger("host", clock)
    ledger.look([status(os.getpid())], {}, NOW)
    assert not ledger.settle()
    assert not ledger.is_settled
    clock.now += BASELINE_AFTER
    assert ledger.settle()
    assert ledger.is_settled
    view = ledger.view(status(os.getpid()), "app/web")
    assert view.baseline == view.private
    assert not ledger.settle()  # it is known


def test_the_baseline_is_what_a_warm_worker_has() -> None:
    """Not before half a minute has passed; and it stays."""
    clock = Clock()
    ledger = Ledger("host", clock)
    young = status(os.getpid(), BASELINE_AFTER - 1)
    ledger.look([young], {}, NOW)
    assert ledger.view(young, "app/web").baseline is None
    clock.now += 2
    ledger.look([young], {}, NOW + 7200)  # a clock that is set makes nobody older
    view = ledger.view(young, "app/web")
    assert view.baseline == view.private > 0
    assert view.age == BASELINE_AFTER + 1


def test_what_a_worker_had_when_it_got_ready_is_known_at_once() -> None:
    """It has told; what it shares with its template, or took since, is no part of it."""
    shared = taken(40 * MIB)
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(theirs, " ".join(map(str, fresh_and_private())).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    before, fresh, private = map(int, os.read(ours, 100).split())
    os.close(ours)
    os.close(theirs)
    assert before < len(shared)
    assert abs(fresh - before) < 8 * MIB
    assert private > fresh + 22 * MIB


def fresh_and_private() -> tuple[int, int, int]:
    """Return what this process has alone, before and as a ledger sees it when it has taken more."""
    ledger = Ledger("host", Clock())
    told = msgspec.structs.replace(status(os.getpid()), screen=screen_bytes())
    before = sample.private_bytes("self") or 0
    more = taken(30 * MIB)
    ledger.look([told], {}, NOW)
    view = ledger.view(told, "app/web")
    more.close()
    return before, view.fresh or 0, view.private


def taken(size: int) -> mmap.mmap:
    """Take new pages, whatever the heap has free, and write to each."""
    pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, size, mmap.PAGESIZE):
        pages[page] = 1
    return pages


def test_a_leak_is_no_part_of_the_baseline() -> None:
    """A worker that has grown steadily since its start was fresh at its start, not after 30 s."""
    clock = Clock()
    ledger = Ledger("host", clock)
    kept = []
    for age in (0.0, 10.0, 20.0, 25.0, 31.0):
        clock.now = 1000.0 + age
        if age:
            kept.append(taken(round(age / 5) * 10 * MIB))
        leaking = status(os.getpid(), age)
        ledger.look([leaking], {"app/web.0": 1.0}, NOW)
        if not age:
            fresh = ledger.view(leaking, "app/web").private
    view = ledger.view(leaking, "app/web")
    assert view.private > fresh + 100 * MIB
    assert view.baseline is not None
    assert view.baseline < fresh + 50 * MIB


def test_exact_looks_at_the_near_ones_leave_time_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However much they have cost: all have their turn soon after."""
    clock = Clock()
    ledger = Ledger("host", clock)
    monkeypatch.setattr(time, "thread_time", lambda: clock.now)
    own = sample.private_bytes

    def costly(pid: int | str) -> int | None:
        clock.now += 1.0
        return own(pid)

    monkeypatch.setattr(sample, "private_bytes", costly)
    for _ in range(200):  # near its limit: looked at exactly each time
        ledger.look([status(os.getpid())], {"app/web.0": 1.0}, NOW)
        clock.now += 1.0
    last = ledger.accounts["app/web.0"].exact_at
    clock.now += 300.0
    ledger.look([status(os.getpid())], {"app/web.0": 1e12}, NOW)
    assert ledger.accounts["app/web.0"].exact_at > last


def test_between_exact_looks_memory_is_estimated() -> None:
    """Far from its limit a worker is looked at exactly twice a minute only."""
    clock = Clock()
    ledger = Ledger("host", clock)
    for seconds in (0.0, 1.0, EXACT_EVERY):
        clock.now = 1000.0 + seconds
        ledger.look([status(os.getpid())], {"app/web.0": 1e15}, NOW)
        account = ledger.accounts["app/web.0"]
        exact = 1000.0 if seconds < EXACT_EVERY else clock.now
        assert account.exact_at == exact
        assert abs(account.private - (sample.private_bytes("self") or 0)) < 8 * MIB


def test_another_process_in_the_slot_begins_anew() -> None:
    """What was known of its predecessor says nothing about it; one that is gone has nothing."""
    ledger = Ledger("host", Clock())
    ledger.look([status(os.getpid(), 100.0)], {}, NOW)
    child = subprocess.Popen(["sleep", "60"])
    try:
        ledger.look([status(child.pid, generation=2)], {}, NOW)
        assert ledger.accounts["app/web.0"].baseline is None
        assert ledger.accounts["app/web.0"].private < 5 * MIB
    finally:
        child.kill()
        child.wait()
    ledger.look([status(child.pid, generation=2)], {}, NOW)
    assert ledger.accounts == {}
