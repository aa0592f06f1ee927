"""Planned replacement of real processes: the new one is there before the old one goes."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.errors import CommandFailed
from supervisor.control.messages import RecycleChildren, TrimChildren
from supervisor.observe.snapshot import ChildStatus, WorkerStatus
from tests.crash.app_harness import App, alive, eventually, workers
from tests.crash.brisk_app import Brisk


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One running app for all tests: each has children of its own."""
    directory = tmp_path_factory.mktemp("r")
    with Brisk("recycling:tree", directory, env={"MARKS": str(directory), "SOAK": "1"}) as app:
        yield app.up()


class Watch:
    """Looks at one child all the while: the least number of ready slots."""

    def __init__(self, app: App, name: str) -> None:
        self._app, self._name = app, name
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.least = 1 << 30

    def _run(self) -> None:
        while not self._done.wait(0.005):
            found = [c for c in self._app.snapshot().tree.children if c.path == self._name]
            assert isinstance(found[0], ChildStatus)
            self.least = min(self.least, found[0].ready)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._done.set()
        self._thread.join()


def slots(app: App, prefix: str) -> list[WorkerStatus]:
    """Return the slots whose paths begin so."""
    return [one for one in workers(app.snapshot().tree) if one.path.startswith(prefix)]


def test_a_pool_is_recycled_without_a_gap(app: App) -> None:
    """Both slots have new processes, never was one of them not ready, and nothing was counted."""
    before = slots(app, "tree/pool")
    with Watch(app, "tree/pool") as watch:
        app.ask(RecycleChildren("pool"))
    after = slots(app, "tree/pool")
    assert watch.least == 2
    for old, new in zip(before, after, strict=True):
        assert new.pid != old.pid
        assert old.pid is not None
        assert not alive(old.pid)
        assert new.generation == old.generation + 1
        assert (new.state, new.restarts, new.recycles) == ("ready", 0, old.recycles + 1)
        assert (new.recycling, new.capacity_lost, new.capacity_lost_since) == (False, 0.0, None)
        assert new.last_exit is not None
        assert new.last_exit.cause == "recycled"
    assert app.ends("pool.0") == []


def test_a_whole_nested_supervisor_is_recycled(app: App) -> None:
    """All that is below it is replaced; the supervisor itself stays."""
    before = slots(app, "tree/inner/")
    inner = app.snapshot().tree.children[-1]
    app.ask(RecycleChildren("tree/inner"))
    now = eventually(
        lambda: [one for one in slots(app, "tree/inner/") if one.recycles == 1][1:], "recycled"
    )
    assert len(now) == 1
    assert {one.pid for one in before}.isdisjoint(one.pid for one in slots(app, "tree/inner/"))
    assert app.snapshot().tree.children[-1].pid == inner.pid  # type: ignore[union-attr]


def test_a_replacement_that_never_gets_ready_leaves_the_old_one(app: App) -> None:
    """The old process serves on, and whoever asked learns why (T5)."""
    before = app.worker("tree/unique.0")
    with pytest.raises(CommandFailed, match="start_failed:exception:RuntimeError"):
        app.ask(RecycleChildren("unique"))
    after = app.worker("tree/unique.0")
    assert (after.pid, after.state, after.generation) == (before.pid, "ready", before.generation)
    assert (after.recycling, after.recycles, after.restarts) == (False, 0, 0)
    assert after.capacity_lost == 0.0


def test_a_replacement_that_dies_in_its_first_seconds_leaves_the_old_one(app: App) -> None:
    """To be ready is not enough: it must stay so before it takes over."""
    before = app.worker("tree/sickly.0")
    with pytest.raises(CommandFailed, match="exited"):
        app.ask(RecycleChildren("sickly"))
    assert app.worker("tree/sickly.0").pid == before.pid
    assert app.worker("tree/sickly.0").state == "ready"


def test_stop_first_costs_capacity_which_is_counted(app: App) -> None:
    """In an emergency the old one goes first, by force if need be: no restart, but a deficit."""
    before = app.worker("tree/stubborn.0")
    app.ask(RecycleChildren("stubborn", cause="memory_hard", stop_first=True, patience=0.3))
    after = app.worker("tree/stubborn.0")
    assert after.pid != before.pid
    assert (after.state, after.restarts, after.recycles) == ("ready", 0, 1)
    assert 0.2 < after.capacity_lost < 10
    assert after.last_exit is not None
    assert after.last_exit.cause == "memory_hard"


def test_a_worker_is_asked_to_trim(app: App) -> None:
    """Its hooks are called between two pieces of work, and it goes on."""
    pid = app.worker("tree/pool.0").pid
    app.ask(TrimChildren("pool.0"))
    app.wait_for(path="tree/pool.0", event=f"trimmed {pid}")
    assert app.worker("tree/pool.0").pid == pid


def test_the_command_line_recycles(tmp_path: Path, app: App) -> None:
    """`supervisor recycle PATH` says what it has done."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "supervisor.cli.main", "recycle", "pool.1"]
    env = {"SUPERVISOR_RUNTIME_DIR": str(app.runtime), "PATH": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "recycle tree/pool.1: done\n"
