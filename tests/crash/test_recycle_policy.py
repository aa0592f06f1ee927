"""What the policy promises of recycles, with real processes (T3, T5, T6, T7)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from supervisor.recycling import machine
from supervisor.recycling.backstop import can_confine
from supervisor.recycling.leaks import LeakReport
from supervisor.recycling.report import Report, read
from tests.crash.app_harness import App, eventually, workers
from tests.crash.brisk_app import BRISK, Brisk

MIB = 1 << 20


def take(directory: Path, mebibytes: int) -> None:
    """Order all workers to take memory, in one moment."""
    fresh = directory / "fresh"
    fresh.write_text(str(mebibytes))
    fresh.rename(directory / "take")


def report_of(app: App) -> Report | None:
    """Return what the arbiter has seen last."""
    return read(os.path.dirname(app.socket), time.time())


def test_slots_that_cross_a_limit_at_once_are_replaced_in_turn(tmp_path: Path) -> None:
    """Five over the limit in one moment: one at a time, all ready all the time (T3)."""
    most, least = 0, 5
    with Brisk("ordered:pool", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        before = {one.path: one.pid for one in workers(app.up().snapshot().tree)}
        take(tmp_path, 50)

        def replaced() -> bool:
            nonlocal most, least
            slots = workers(app.snapshot().tree)
            most = max(most, sum(one.recycling for one in slots))
            least = min(least, sum(one.state == "ready" for one in slots))
            return all(one.recycles == 1 and not one.recycling for one in slots)

        eventually(replaced, "all replaced", 40.0)
        slots = workers(app.snapshot().tree)
    assert (most, least) == (1, 5)
    assert not {one.pid for one in slots} & set(before.values())
    assert [(one.restarts, one.capacity_lost) for one in slots] == [(0, 0.0)] * 5


def test_a_replacement_that_hangs_is_given_up_and_tried_later(tmp_path: Path) -> None:
    """The old one serves on, nothing counts, and health is warned after the second (T5)."""
    with Brisk("ordered:last", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        before = app.up().ready("last/w.0")
        take(tmp_path, 50)

        def blocked() -> Report | None:
            report = report_of(app)
            return report if report and "recycle_blocked" in report.warnings else None

        report = eventually(blocked, "blocked", 30.0)
        assert report is not None
        assert report.warnings["recycle_blocked"] == ["last/w.0"]
        assert (report.failed, report.recycled) == (2, 0)
        after = app.worker("last/w.0")
        assert (after.pid, after.state, after.restarts) == (before.pid, "ready", 0)
        assert (after.recycles, after.capacity_lost) == (0, 0.0)


def test_a_child_in_a_crash_loop_is_not_recycled(tmp_path: Path) -> None:
    """Three deaths within a minute: what is planned for it waits (T7)."""
    with Brisk("ordered:one", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        app.up()
        eventually(lambda: report_of(app), "a first look")
        for death in (1, 2, 3):
            pid = app.ready("one/w.0").pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            app.wait_worker("one/w.0", lambda one, n=death: one.restarts == n)  # type: ignore[misc]
        before = app.ready("one/w.0")
        take(tmp_path, 50)

        def deferred() -> bool:
            report = report_of(app)
            because = report.deferred.get("one/w.0") if report else None
            return because == "the child is in a crash loop"

        eventually(deferred, "deferred", 20.0)
        assert app.worker("one/w.0").pid == before.pid


def test_what_recycling_does_not_cure_is_reported(tmp_path: Path) -> None:
    """After three short lives there is a report with their growth, and who allocated it."""
    with Brisk("ordered:leaking", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        app.up()
        for life in (1, 2, 3):
            app.ready("leaking/w.0")
            take(tmp_path, 40 + life)
            app.wait_worker("leaking/w.0", lambda one, n=life: one.recycles == n)  # type: ignore[misc]
        record = app.wait_for(event="recycled over and over", child="leaking/w.0")
        report = msgspec.json.decode(Path(record["report"]).read_bytes(), type=LeakReport)
        said = {"event": "allocations", "path": "leaking/w.0"}
        app.wait_until(lambda: len(app.find(**said)) >= 3, "who allocated it")
        told = app.find(**said)
    assert (report.path, report.held_off) == ("leaking/w.0", 60.0)
    assert [one.generation for one in report.lives] == [1, 2, 3]
    assert {one.why for one in report.lives} <= {"soft", "eta"}  # over it, or soon to be
    assert min(one.private for one in report.lives) > 40 * MIB
    assert len(told) == 3
    assert "ordered.py" in told[0]["top"][0]


def test_descriptors_and_threads_that_leak_are_given_back(tmp_path: Path) -> None:
    """Each worker is replaced before it runs out of them, as planned: nothing counts."""
    paths = ("handles/descriptors.0", "handles/threads.0")
    with Brisk("handles:tree", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        app.up()
        for path in paths:
            app.ready(path)
        (tmp_path / "leak").touch()
        for path in paths:
            after = app.wait_worker(path, lambda one: one.recycles == 1, "replaced")
            assert (after.generation, after.restarts, after.capacity_lost) == (2, 0, 0.0)
            assert app.wait_for(event="recycle", child=path)["why"] == "handles"
        assert app.stop() == 0


def test_consumers_get_less_at_once_while_the_budget_is_used_up(tmp_path: Path) -> None:
    """Half as much, until the worker that has grown is replaced."""
    with Brisk("ordered:tight", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        app.up().ready("tight/w.0")
        take(tmp_path, 250)
        app.wait_for(event="command", verb="queue squeeze")
        app.wait_worker("tight/w.0", lambda one: one.recycles == 1)
        app.wait_for(event="command", verb="queue relax")
        eventually(lambda: not app.snapshot().queues[0]["squeezed"], "relaxed")


@pytest.fixture
def narrow() -> Iterator[Path]:
    """A memory cgroup of 640 MiB."""
    found = machine.cgroup()
    assert found is not None
    group = Path(found[0]) / f"letitcrash-test-{os.getpid()}"
    group.mkdir()
    name = "memory.max" if found[1] else "memory.limit_in_bytes"
    (group / name).write_text(str(640 * MIB))
    yield group
    eventually(lambda: not (group / "cgroup.procs").read_text(), "left")
    group.rmdir()


@pytest.mark.skipif(not can_confine(), reason="needs a writable memory cgroup")
def test_without_memory_for_two_only_an_emergency_stops_a_worker(
    tmp_path: Path, narrow: Path
) -> None:
    """A hog beside the app: planned recycles wait, a hard one is stop-first, root lives (T6)."""
    inside = ("sh", "-c", f'echo $$ > {narrow}/cgroup.procs && exec "$@"', "sh")
    hog_code = "import sys; kept = b'x' * (320 << 20); print(flush=True); sys.stdin.read()"
    wrapper = (*inside, *BRISK)
    with App("ordered:one", tmp_path, env={"MARKS": str(tmp_path)}, wrapper=wrapper) as app:
        before = app.up().ready("one/w.0")
        with subprocess.Popen(
            [*inside, sys.executable, "-c", hog_code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as hog:
            assert hog.stdin is not None
            assert hog.stdout is not None
            hog.stdout.readline()
            take(tmp_path, 40)

            def waits() -> bool:
                report = report_of(app)
                return bool(report and "no memory for two at once" in report.deferred.values())

            eventually(waits, "deferred", 20.0)
            assert app.worker("one/w.0").pid == before.pid
            take(tmp_path, 106)
            after = app.wait_worker("one/w.0", lambda one: one.recycles == 1)
            assert after.pid != before.pid
            assert after.restarts == 0
            assert after.capacity_lost > 0.0
            assert after.last_exit is not None
            assert after.last_exit.cause == "memory_hard"
            app.wait_for(event="recycling", stop_first=True)
            hog.stdin.close()
        assert app.process.poll() is None
