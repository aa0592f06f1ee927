"""Restarts of a whole tree, at any nesting, are bounded in number and in rate."""

import os
import signal
from pathlib import Path
from time import monotonic

from supervisor.control.messages import Reload, RestartChildren, Scale
from tests.crash.app_harness import App, eventually, workers
from tests.crash.running_app import restarted
from tests.crash.test_reload import Edited

BURST, RATE = 40, 20.0
GROWING = """
import signal
from supervisor import Child, Supervisor

def wait():
    while True:
        signal.pause()

tree = Supervisor("app", intensity=1000, children=[Child("web", wait, count=COUNT)])
"""


def restarts(app: App) -> int:
    """Count the restarts of all workers that have been one."""
    return sum(worker.generation - 1 for worker in workers(app.snapshot().tree))


def test_a_tree_that_crashes_without_end_is_slowed_down(tmp_path: Path) -> None:
    """Burst, then rate, for root and two nested supervisors together; each has its share."""
    options = ("--restart-burst", str(BURST), "--restart-rate", str(RATE))
    began = monotonic()
    with App("looping:tree", tmp_path, *options) as app:
        app.up()
        app.wait_for(event="restarts are slowed down")
        eventually(lambda: restarts(app) >= BURST + 2 * RATE)
        seen, took = restarts(app), monotonic() - began
        assert seen <= BURST + RATE * took
        assert took >= 2.0
        counts = [w.generation for w in workers(app.snapshot().tree) if "crash" in w.path]
        assert len(counts) == 7
        assert min(counts) > 4, "who shares the bucket with others is not starved by them"
        # What somebody asks for needs no token, and a stop does not wait for one.
        before = app.worker("looping/steady.0").pid
        app.ask(RestartChildren("looping/steady"))
        assert app.ready("looping/steady.0").pid != before
        assert app.stop() == 0


def test_a_restarted_supervisor_pays_for_its_children(tmp_path: Path) -> None:
    """Killed with the bucket empty, it and all below it come back, at the rate."""
    options = ("--restart-burst", "1", "--restart-rate", "5")
    with App("looping:calm", tmp_path, *options) as app:
        app.up()
        began, burst = monotonic(), 2 * 6
        for life in range(2, 6):  # each takes six tokens: four lives more than the burst has
            inner = restarted(app, "calm/inner", life - 1)
            assert inner.pid is not None
            os.kill(inner.pid, signal.SIGKILL)
        restarted(app, "calm/inner", 5)
        assert monotonic() - began >= (4 * 6 - burst) / 5
        assert app.stop() == 0


def crash_all(app: App, count: int) -> None:
    """Kill all workers; all are back at once, not at the rate."""
    before = app.pids()
    assert len(before) == count
    for pid in before.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    old = {None, *before.values()}
    eventually(lambda: len({*app.pids().values()} - old) == count, "all restarted", 10.0)
    assert not app.find(event="restarts are slowed down")


def test_a_tree_that_has_grown_by_a_reload_may_crash_as_a_whole(tmp_path: Path) -> None:
    """The bucket is that of the tree there is now: all slots come back at once, not at the rate."""
    options = ("--restart-burst", "1", "--restart-rate", "0.001")
    with Edited(GROWING.replace("COUNT", "1"), tmp_path, *options) as app:
        app.up()
        app.write(GROWING.replace("COUNT", "10"))
        app.ask(Reload())
        crash_all(app, 10)
        assert app.stop() == 0


def test_a_tree_that_was_scaled_may_crash_as_a_whole(tmp_path: Path) -> None:
    """As if it had been declared so; and a reload that changes another child keeps that."""
    options = ("--restart-burst", "1", "--restart-rate", "0.001")
    with Edited(GROWING.replace("COUNT", "1"), tmp_path, *options) as app:
        app.up()
        app.ask(Scale("app/web", 10))
        crash_all(app, 10)
        app.write(GROWING.replace("COUNT", "1").replace("[Child(", '[Child("new", wait), Child('))
        app.ask(Reload())
        app.ask(Scale("app/web", 20))
        crash_all(app, 21)
        assert app.stop() == 0
