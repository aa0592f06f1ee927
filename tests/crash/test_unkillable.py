"""Workers that not even SIGKILL ends: frozen by the kernel, as others wait for a dead device.

Each scene waits for the same 5 s, some twice: all are played at the same time, each in an app of
its own.
"""

import contextlib
import json
import os
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.health import assess
from supervisor.control.messages import RestartChildren, StopChildren
from supervisor.observe.snapshot import WorkerStatus
from tests.conftest import children, ended
from tests.crash.app_harness import App, alive, eventually
from tests.crash.running_app import await_death, supervisor_at

FREEZER = Path("/sys/fs/cgroup/freezer")
VICTIM = "kernel/victim.0"

pytestmark = pytest.mark.skipif(
    not os.access(FREEZER / "cgroup.procs", os.W_OK), reason="needs a writable freezer cgroup (v1)"
)


class Freezer:
    """Cgroups in which processes stand still, whatever signals they get; one for each."""

    def __init__(self) -> None:
        self._groups: dict[int, Path] = {}

    def freeze(self, pid: int | None) -> int:
        """Freeze a process; returns its pid."""
        assert pid is not None
        group = self._groups[pid] = FREEZER / f"letitcrash-test-{os.getpid()}-{pid}"
        group.mkdir()
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        eventually(lambda: (group / "freezer.state").read_text() == "FROZEN\n", "frozen")
        return pid

    def thaw(self, pid: int) -> None:
        """Let it go on: a signal that waits ends it."""
        group = self._groups.pop(pid)
        (group / "freezer.state").write_text("THAWED")
        eventually(lambda: not (group / "cgroup.procs").read_text(), "it ends")
        group.rmdir()

    def close(self) -> None:
        """Let all go on."""
        for pid in list(self._groups):
            self.thaw(pid)


Scene = Callable[[Path, Freezer], None]
SCENES: dict[str, Scene] = {}
#: One app starts at a time: what beats, and what has to be ready soon, must not be kept from it.
STARTS = threading.Lock()


def beside_the_others(scene: Scene) -> Callable[[dict[str, Future[None]]], None]:
    """Make a test of a scene: it is played when the first one is, and this tells how it ended."""
    name = scene.__name__

    def test(played: dict[str, Future[None]]) -> None:
        played[name].result()

    SCENES[name] = scene
    test.__name__, test.__doc__ = name, scene.__doc__
    return test


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[None]]:
    """Play all scenes that were asked for, to their ends; no process is left of any."""
    before, asked = children(), {item.name for item in request.session.items}
    with ThreadPoolExecutor(len(SCENES)) as pool:
        ends = {
            name: pool.submit(play, scene, tmp_path_factory.mktemp("frozen"))
            for name, scene in SCENES.items()
            if name in asked
        }
    assert [pid for pid in children() - before if not ended(pid)] == []
    return ends


def play(scene: Scene, directory: Path) -> None:
    """Play one, with a freezer that is empty in the end."""
    with contextlib.closing(Freezer()) as freezer:
        scene(directory, freezer)


@contextlib.contextmanager
def started(tree: str, directory: Path, *options: str) -> Iterator[App]:
    """Run an app that is up."""
    with contextlib.ExitStack() as stack:
        with STARTS:
            app = stack.enter_context(App(tree, directory, *options))
            app.up()
        yield app


def health(app: App) -> Any:
    """Ask the observer."""
    address = app.snapshot().health_address
    with urllib.request.urlopen(f"http://{address}/healthz", timeout=10) as reply:
        return json.load(reply)


def left(app: App, *pids: int) -> WorkerStatus:
    """Wait until these are all that was left behind of the victim."""
    return app.wait_worker(VICTIM, lambda w: w.left_behind == list(pids), f"{pids} left behind")


@beside_the_others
def test_a_process_that_cannot_be_killed_is_left_behind(tmp_path: Path, freezer: Freezer) -> None:
    """Named as unkillable after 5 s, a warning until it is gone; its slot is filled anew."""
    with started("kernel:tree", tmp_path, "--health", "127.0.0.1:0") as app:
        frozen = freezer.freeze(app.ready(VICTIM).pid)
        app.ask(RestartChildren("kernel/victim"))
        record = app.wait_for(event="unkillable process left behind")
        assert (record["pid"], record["child"]) == (frozen, VICTIM)
        worker = app.ready(VICTIM)
        assert worker.pid != frozen
        assert worker.last_exit is not None
        assert worker.last_exit.cause == "unkillable"
        assert worker.left_behind == [frozen]
        verdict = assess(app.snapshot())
        assert verdict.word == "WARN"
        assert f"{VICTIM} (pid {frozen})" in verdict.notes[0]
        document = eventually(lambda: (d := health(app))["status"] == "warn" and d)
        (check,) = document["checks"]["processes:unkillable"]
        assert (check["status"], check["observedValue"]) == ("warn", 1)
        assert f"{VICTIM} (pid {frozen})" in check["output"]
        assert document["supervisor"]["summary"]["unkillable"] == 1
        freezer.thaw(frozen)
        assert app.wait_for(event="unkillable process has gone")["pid"] == frozen
        assert left(app).pid == worker.pid
        assert assess(app.snapshot()).word == "OK"
        eventually(lambda: health(app)["status"] == "pass")
        assert app.stop() == 0
    assert "cannot be killed" not in app.errors


@beside_the_others
def test_there_is_one_replacement_and_no_other(tmp_path: Path, freezer: Freezer) -> None:
    """When it is left behind too, the slot stays empty until one of them has gone."""
    with started("kernel:beating", tmp_path) as app:
        first, second, waits = frozen_twice(app, freezer)
        assert f"(pid {first}, {second})" in waits["problem"]
        assert app.worker(VICTIM).state == "unkillable"
        verdict = assess(app.snapshot())
        assert verdict.word == "FAIL"
        assert any(f"{VICTIM} (pid {first}, {second})" in note for note in verdict.notes)
        assert not await_death(app.process.pid, patience=1.5)  # twice the victim's start_timeout
        freezer.thaw(first)
        worker = app.ready(VICTIM)
        assert (worker.left_behind, worker.restarts) == ([second], 2)
        assert len(app.find(event="start waits")) == 1
        assert not app.find(event="child failed to start")
        freezer.thaw(second)
        assert left(app).pid == worker.pid
        assert app.ready("kernel/bystander.0").generation == 1
        assert app.stop() == 0


@beside_the_others
def test_the_subtree_of_a_supervisor_that_cannot_be_killed_is_ended(
    tmp_path: Path, freezer: Freezer
) -> None:
    """Before another one is started: who is left behind holds connections that nobody can close."""
    with started("kernel:hasty", tmp_path) as app:
        paths = ["hasty/inner/x.0", "hasty/inner/x.1"]
        old = [app.ready(path).pid for path in paths]
        frozen = freezer.freeze(supervisor_at(app, "hasty/inner").pid)
        app.ask(RestartChildren("hasty/inner"))
        app.wait_for(event="unkillable process left behind", child="hasty/inner")
        assert not any(alive(pid) for pid in old if pid)
        new = [app.ready(path).pid for path in paths]
        assert not set(new) & set(old)
        assert supervisor_at(app, "hasty/inner").left_behind == [frozen]
        freezer.thaw(frozen)
        app.wait_for(event="unkillable process has gone", child="hasty/inner")
        assert [app.ready(path).pid for path in paths] == new
        assert app.stop() == 0


@beside_the_others
def test_a_start_that_waits_for_the_frozen_can_be_stopped(tmp_path: Path, freezer: Freezer) -> None:
    """By a command, at once; and it does not hold up the end of the app, which says who is left."""
    with started("kernel:beating", tmp_path) as app:
        first, second, _ = frozen_twice(app, freezer)
        app.ask(StopChildren("kernel/victim"))
        stopped = app.worker(VICTIM)
        assert (stopped.state, stopped.left_behind) == ("stopped", [first, second])
        assert app.stop() == 0
    assert f"{VICTIM} (pid {first}, {second})" in app.errors


def frozen_twice(app: App, freezer: Freezer) -> tuple[int, int, dict[str, Any]]:
    """Freeze the victim, and then its replacement; returns both, and what the log says of that."""
    first = freezer.freeze(app.ready(VICTIM).pid)
    left(app, first)
    second = freezer.freeze(app.ready(VICTIM).pid)
    left(app, first, second)
    return first, second, app.wait_for(event="start waits", child=VICTIM)


@beside_the_others
def test_a_stop_ends_at_its_deadline_and_names_who_is_left(
    tmp_path: Path, freezer: Freezer
) -> None:
    """A frozen worker: 0.2 s to stop, 5 s to be killed, and the app ends without it."""
    with started("kernel:tree", tmp_path) as app:
        frozen = freezer.freeze(app.ready(VICTIM).pid)
        bystander = app.ready("kernel/bystander.0").pid
        assert bystander is not None
        app.process.terminate()
        assert app.process.wait(12) == 0
        assert app.wait() == 0
        record = app.find(event="unkillable process left behind")[0]
        assert record["pid"] == frozen
        assert f"{VICTIM} (pid {frozen})" in app.errors
        assert alive(frozen)
        assert not alive(bystander)
