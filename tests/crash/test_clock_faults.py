"""A wall clock that is set, forward or back, while an app runs: noted, and nothing else."""

import ast
import glob
import sys
from pathlib import Path

import pytest

from tests.crash.app_harness import App
from tests.crash.running_app import TREES, await_death, run_tree

ROOT = Path(__file__).parents[2]
INJECTED = (sys.executable, str(TREES / "injected.py"))
LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")


#: Puts a monotonic clock into the calendar, once: what is stored outlives the process.
ANCHOR = "time.time() - time.monotonic()"


def test_nothing_is_timed_by_a_clock_that_jumps() -> None:
    """The wall clock is only shown or stored: what it says is never compared or counted with.

    Except by the CLI, which reads logs by the times that are written in them, and by the store,
    which keeps times over a restart of the machine.
    """
    exempt = {ROOT / "supervisor" / "cli", ROOT / "workers" / "queues" / "store"}
    files = [path for part in ("supervisor", "workers") for path in (ROOT / part).rglob("*.py")]
    for path in files:
        if exempt & set(path.parents):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.BinOp | ast.Compare | ast.AugAssign):
                if ast.unparse(node) == ANCHOR:
                    continue
                called = {ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
                assert not called & {"time.time", "time.time_ns"}, f"{path}:{node.lineno}"


def test_a_clock_that_is_set_in_root_is_noted_and_nobody_is_killed(tmp_path: Path) -> None:
    """An hour forward, two back: one record for each, while heartbeats of 0.5 s are watched."""
    env = {"FAULT": "clock", "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "offset")}
    (tmp_path / "offset").write_text("0")
    with run_tree("flat:beating", tmp_path, wrapper=INJECTED, env=env) as app:
        steps(app, tmp_path / "offset")


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime (the same without it is above)")
def test_a_clock_that_is_set_for_all_processes_is_noted_and_nobody_is_killed(
    tmp_path: Path,
) -> None:
    """The same for root, templates, pump and workers at once, by libfaketime."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    env = {
        "LD_PRELOAD": LIBRARIES[0],
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with run_tree("flat:beating", tmp_path, env=env) as app:
        steps(app, offset)


def steps(app: App, offset: Path) -> None:
    """Set the clock twice; each step is noted once, and everybody lives (the intensity is 0)."""
    app.up()
    for says, seconds in (("+3600", 3600), ("-3600", -7200)):
        staged = offset.with_suffix(".new")
        staged.write_text(says)
        staged.replace(offset)
        app.wait_until(
            lambda s=seconds: any(abs(r["seconds"] - s) < 5 for r in app.find(event="clock step")),
            f"a step of {seconds} s",
        )
        assert not await_death(app.process.pid, patience=1.1)  # two heartbeats
    assert len(app.find(event="clock step")) == 2
    assert not app.find(event="child terminated")
    assert all(w.generation == 1 for w in app.snapshot().services)
    assert app.stop() == 0
