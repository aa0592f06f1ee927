"""A tree at rest: what ends it, so that the arbiter looks again."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from supervisor.recycling import machine, rest
from supervisor.recycling.rest import Rest

#: Answers each line that it reads; for "more" it keeps a megabyte.
WORKER = """
import sys
kept = []
for line in sys.stdin:
    if line == "more\\n":
        kept.append(bytearray(1 << 20))
    print(line)
"""
Sleeper = subprocess.Popen[str]


@pytest.fixture
def sleeper() -> Iterator[Callable[[], Sleeper]]:
    """Makes processes that sleep until they are told to do something."""
    made: list[Sleeper] = []

    def make() -> Sleeper:
        pipe = subprocess.PIPE
        command = [sys.executable, "-u", "-c", WORKER]
        made.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        work(made[-1])  # it is up
        return made[-1]

    yield make
    for process in made:
        process.kill()
        process.communicate()


#: Seconds between two questions, at first.
EVERY = 30.0


def at_rest(
    root: int, workers: Sequence[int] = (), others: Sequence[int] = (), seconds: float = 1e6
) -> Rest:
    """Note a tree that has been found calm."""
    return Rest(root, workers, others, EVERY, seconds=seconds)


def work(process: Sleeper, what: str = "more") -> None:
    """Have it do something, and wait until it sleeps again."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    process.stdout.readline(), process.stdout.readline()
    while " S " not in Path(f"/proc/{process.pid}/stat").read_text():
        os.sched_yield()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which nobody else is."""
    monkeypatch.setattr(machine, "pressure", machine.Pressure)
    monkeypatch.setattr(machine, "available", lambda: 100)
    return monkeypatch


def test_it_lasts_while_nobody_does_anything(sleeper: Callable[[], Sleeper]) -> None:
    """However often it is asked for."""
    found = at_rest(sleeper().pid, [sleeper().pid])
    assert all(found.lasts() for _ in range(10))


def test_a_root_that_has_run_ends_it(sleeper: Callable[[], Sleeper]) -> None:
    """It may know of a start, an end, a command."""
    root = sleeper()
    found = at_rest(root.pid)
    work(root)
    assert not found.lasts()


def test_a_worker_that_has_grown_ends_it(sleeper: Callable[[], Sleeper]) -> None:
    """Nobody hears of memory."""
    worker = sleeper()
    found = at_rest(sleeper().pid, [worker.pid])
    work(worker)
    assert not found.lasts()


def test_a_worker_that_is_gone_ends_it(sleeper: Callable[[], Sleeper]) -> None:
    """Even if root has not heard of it yet."""
    worker = sleeper()
    found = at_rest(sleeper().pid, [worker.pid])
    worker.kill()
    worker.wait()
    assert not found.lasts()


@pytest.mark.parametrize("what", ["pressure", "available"])
def test_memory_that_others_take_ends_it(
    sleeper: Callable[[], Sleeper], quiet: pytest.MonkeyPatch, what: str
) -> None:
    """Workers may have to be recycled for that, too."""
    found = at_rest(sleeper().pid)
    changed = {"pressure": machine.Pressure(some=1.0), "available": 80}
    quiet.setattr(machine, what, lambda: changed[what])
    assert not found.lasts()


def test_it_ends_when_something_falls_due(sleeper: Callable[[], Sleeper]) -> None:
    """A worker gets too old, say: nobody waits for longer than that."""
    assert not at_rest(sleeper().pid, seconds=0.0).lasts()
    assert 6.0 < at_rest(sleeper().pid, seconds=7.0).wait <= 7.0


def test_it_is_asked_for_ever_more_rarely(sleeper: Callable[[], Sleeper]) -> None:
    """Nobody runs: nobody grows."""
    found = at_rest(sleeper().pid, [sleeper().pid])
    waits = [found.wait for _ in range(6) if found.lasts()]
    assert waits == [60.0, 120.0, 240.0, rest.LONGEST, rest.LONGEST, rest.LONGEST]
    assert found.idle


def test_a_worker_that_runs_and_has_not_grown_is_asked_for_often(
    sleeper: Callable[[], Sleeper],
) -> None:
    """It may begin to, in the next moment."""
    worker = sleeper()
    found = at_rest(sleeper().pid, [worker.pid])
    assert found.lasts()
    work(worker, "nothing")
    assert found.lasts()
    assert found.wait == EVERY
    assert not found.idle


def test_one_that_runs_is_looked_at_after_a_while(
    sleeper: Callable[[], Sleeper], quiet: pytest.MonkeyPatch
) -> None:
    """Of its descriptors nothing is known here."""
    quiet.setattr(rest, "LONGEST", 0.0)
    worker = sleeper()
    found = at_rest(sleeper().pid, [worker.pid])
    work(worker, "nothing")
    assert not found.lasts()


def test_the_runtimes_own_processes_may_run(sleeper: Callable[[], Sleeper]) -> None:
    """The log pump notes what was logged: no worker has done anything for that."""
    pump = sleeper()
    found = at_rest(sleeper().pid, [], [pump.pid])
    work(pump, "nothing")
    assert found.lasts()
    assert found.idle
    work(pump)
    assert not found.lasts()
