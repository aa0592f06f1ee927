"""A tree at rest: what ends it, so that the arbiter looks again."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.recycling import machine, rest
from supervisor.recycling.rest import Rest

#: Keeps a megabyte for each line that it reads, and says so.
WORKER = (
    "import sys\nkept = []\nfor line in sys.stdin: kept.append(bytearray(1 << 20)); print(line)"
)
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


def work(process: Sleeper) -> None:
    """Have it do something, and wait until it sleeps again."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("more\n")
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
    found = Rest(sleeper().pid, [sleeper().pid])
    assert all(found.lasts() for _ in range(10))


def test_a_root_that_has_run_ends_it(sleeper: Callable[[], Sleeper]) -> None:
    """It may know of a start, an end, a command."""
    root = sleeper()
    found = Rest(root.pid, [])
    work(root)
    assert not found.lasts()


def test_a_worker_that_has_grown_ends_it(sleeper: Callable[[], Sleeper]) -> None:
    """Nobody hears of memory."""
    worker = sleeper()
    found = Rest(sleeper().pid, [worker.pid])
    work(worker)
    assert not found.lasts()


def test_a_worker_that_is_gone_ends_it(sleeper: Callable[[], Sleeper]) -> None:
    """Even if root has not heard of it yet."""
    worker = sleeper()
    found = Rest(sleeper().pid, [worker.pid])
    worker.kill()
    worker.wait()
    assert not found.lasts()


@pytest.mark.parametrize("what", ["pressure", "available"])
def test_memory_that_others_take_ends_it(
    sleeper: Callable[[], Sleeper], quiet: pytest.MonkeyPatch, what: str
) -> None:
    """Workers may have to be recycled for that, too."""
    found = Rest(sleeper().pid, [])
    changed = {"pressure": machine.Pressure(some=1.0), "available": 80}
    quiet.setattr(machine, what, lambda: changed[what])
    assert not found.lasts()


def test_it_ends_by_itself(sleeper: Callable[[], Sleeper], quiet: pytest.MonkeyPatch) -> None:
    """Workers grow old at rest, too."""
    quiet.setattr(rest, "LONGEST", 0.0)
    assert not Rest(sleeper().pid, []).lasts()
