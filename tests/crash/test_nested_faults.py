"""Nested supervisors that are killed or stopped, in a real tree three deep."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.observe.snapshot import SupervisorStatus
from tests.crash.app_harness import App, alive, eventually, workers
from tests.crash.running_app import (
    IMPATIENT,
    await_death,
    copies,
    restarted,
    run_tree,
    supervisor_at,
)

SIBLINGS = ("deep/a.0", "deep/a.1", "deep/z.0")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """One run of the tree; no slot of it may ever have two processes."""
    with run_tree("nested:tree", tmp_path) as app:
        app.up()
        restarted(app, "deep/inner/innermost", 1)
        yield app
        assert copies(app) == []
        assert app.stop() == 0


def below(app: App, node: SupervisorStatus) -> set[int]:
    """Return the pids of all below a supervisor, with those that its workers have started."""
    slots = workers(node)
    found = {worker.pid for worker in slots if worker.pid is not None}
    for slot in slots:
        if slot.path.rpartition("/")[2] in ("b.0", "c.0"):
            found |= {int(app.said(slot.path, line).split()[-1]) for line in range(3)}
    return found


@pytest.mark.parametrize("path", ["deep/inner", "deep/inner/innermost"])
def test_a_killed_supervisor_takes_its_subtree_with_it(app: App, path: str) -> None:
    """SIGKILL of a supervisor: all below is gone before it is restarted; siblings see nothing."""
    siblings = [app.worker(sibling).pid for sibling in SIBLINGS]
    node = restarted(app, path, 1)
    old = below(app, node)
    assert node.pid is not None
    os.kill(node.pid, signal.SIGKILL)
    after = restarted(app, path, 2)
    assert not [pid for pid in old if alive(pid)]
    assert [app.worker(sibling).pid for sibling in SIBLINGS] == siblings
    assert len(workers(after)) == len(workers(node))
    app.ended(path.rpartition("/")[2], "signal:SIGKILL")


def test_a_supervisor_killed_again_and_again_never_has_two_copies(app: App) -> None:
    """Killed at once whenever it is back: each life ends whole before the next begins."""
    for life in range(1, 7):
        pid = restarted(app, "deep/inner", life).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert await_death(pid)
    restarted(app, "deep/inner", 7)


def test_a_stopped_supervisor_is_killed_and_restarted(tmp_path: Path) -> None:
    """SIGSTOP: no process can supervise so; after its patience the parent kills the subtree."""
    with run_tree("nested:tree", tmp_path, wrapper=IMPATIENT) as app:
        old = below(app, restarted(app.up(), "deep/inner", 1))
        pid = supervisor_at(app, "deep/inner").pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        restarted(app, "deep/inner", 2)
        app.ended("inner", "suspended")
        assert not [pid for pid in old if alive(pid)]
        assert copies(app) == []
        assert app.stop() == 0


def test_a_supervisor_that_is_continued_in_time_lives_on(app: App) -> None:
    """SIGSTOP and SIGCONT: seen in its state, and nothing is killed."""
    node = restarted(app, "deep/inner", 1)
    assert node.pid is not None
    os.kill(node.pid, signal.SIGSTOP)
    eventually(lambda: supervisor_at(app, "deep/inner").state == "suspended")
    os.kill(node.pid, signal.SIGCONT)
    assert restarted(app, "deep/inner", 1).pid == node.pid


def test_a_stopped_supervisor_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A stop of the app ends a supervisor that was stopped with SIGSTOP, too."""
    with run_tree("nested:tree", tmp_path, wrapper=IMPATIENT) as app:
        pid = restarted(app.up(), "deep/inner", 1).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        assert app.stop() == 0
