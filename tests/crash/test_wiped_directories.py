"""The runtime directory or the state of an app is removed while it runs: it is made anew."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control import lock
from supervisor.janitor.journal import JOURNAL, Entry
from supervisor.logs.figures import FIGURES, Figures
from supervisor.recycling.report import REPORT, Report
from tests.crash.app_harness import App, eventually
from tests.crash.running_app import IMPATIENT, TREES, run_tree, service, strace
from tests.crash.test_root_faults import pids

WIPED = "runtime directory was wiped and is made anew"


def cli(app: App, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command about an app that is found by its runtime directory."""
    return subprocess.run(
        [sys.executable, "-m", "supervisor.cli.main", *arguments],
        env={**os.environ, "SUPERVISOR_RUNTIME_DIR": str(app.runtime)},
        input=given, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def holder(app: App) -> int | None:
    """Return the pid of who holds the runtime directory."""
    found = lock.holder_of(str(app.runtime / "lock"))
    return None if found is None else found.pid


def remade(app: App) -> None:
    """Wait until an app can be found and talked to again."""
    eventually(lambda: holder(app) == app.process.pid and Path(app.socket).exists())


def wipe(directory: Path) -> None:
    """Remove a directory that an app writes into: files come and go meanwhile."""

    def failed(_call: object, path: str, error: tuple[object, OSError, object]) -> None:
        if error[1].errno == errno.ENOTEMPTY:  # something came after this pass had looked
            shutil.rmtree(path, onerror=failed)
        elif error[1].errno != errno.ENOENT:
            raise error[1]

    shutil.rmtree(directory, onerror=failed)


def remove(app: App, name: str) -> None:
    """Remove a file of the runtime directory, or all of it."""
    if name == "all":
        wipe(app.runtime)
    else:
        (app.runtime / name).unlink()


@pytest.mark.parametrize("name", ["all", "control.sock", "lock"])
def test_a_runtime_directory_that_is_wiped_is_made_anew(tmp_path: Path, name: str) -> None:
    """Lock and sockets: commands and puts find the app, a second one is refused; said once."""
    with run_tree("flat:strict", tmp_path) as app:
        before = pids(app.up())
        remove(app, name)
        app.wait_for(event=WIPED, directory=str(app.runtime))
        remade(app)
        assert pids(app) == before
        assert cli(app, "queue", "put", "orders", given="1\n").returncode == 0
        with App("flat:strict", tmp_path, cwd=TREES, env={"MARKS": str(tmp_path)}) as second:
            assert second.wait() == 75
        assert f"already running (pid {app.process.pid}" in second.errors
        assert app.snapshot().queues[0]["depth"] == 1
        assert len(app.find(event=WIPED)) == 1
        assert app.stop() == 0


def test_what_the_runtime_has_told_there_is_told_again(tmp_path: Path) -> None:
    """Arbiter, pump and janitor rest for half a minute and more: they write at once."""
    with run_tree("flat:three", tmp_path) as app:
        app.up()
        before = told(app)
        remove(app, "all")
        remade(app)
        report, figures, journal = told(app, patience=5)
        assert report.at >= before[0].at
        assert figures.children.keys() >= {"runtime/arbiter"}
        assert journal.keys() >= before[2].keys()  # it may have got on meanwhile
        assert app.stop() == 0


def told(app: App, patience: float = 30.0) -> tuple[Report, Figures, dict[str, Entry]]:
    """Wait for what arbiter, pump and janitor tell in the runtime directory."""
    directory = str(app.runtime)
    report = eventually(lambda: REPORT.read(directory), "a report", patience)
    figures = eventually(lambda: FIGURES.read(directory), "figures", patience)
    journal = eventually(lambda: JOURNAL.read(directory), "a journal", patience)
    assert report is not None
    assert figures is not None
    assert journal is not None
    return report, figures, journal


def test_it_is_made_anew_every_time(tmp_path: Path) -> None:
    """Also the one that was made anew, and a killed worker is restarted meanwhile."""
    with run_tree("flat:three", tmp_path) as app:
        app.up()
        for times in range(1, 4):
            remove(app, "all")
            app.wait_until(lambda n=times: len(app.find(event=WIPED)) == n, "made anew")  # type: ignore[misc]
            remade(app)
        pid = app.ready("three/w.0").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        app.wait_worker("three/w.0", lambda worker: worker.pid != pid)
        assert app.stop() == 0


def test_workers_that_are_started_later_find_the_broker(tmp_path: Path) -> None:
    """Consumers that are restarted after the wipe are served, by the same broker."""
    env = {"FED": str(tmp_path / "fed")}
    with App("poison:tree", tmp_path, "--", "1", env=env) as app:
        app.up().wait_until(lambda: app.find(event="handling 1 1"))
        broker = service(app, "broker")
        remove(app, "all")
        remade(app)
        for number in (0, 1):
            before = app.ready(f"poison/worker.{number}").pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            app.wait_worker(f"poison/worker.{number}", lambda w, old=before: w.pid != old)  # type: ignore[misc]
        assert cli(app, "queue", "put", "numbers", given="2\n").returncode == 0
        app.wait_for(event="handling 2 1")
        assert service(app, "broker") == broker
        assert app.stop() == 0


def test_of_two_roots_only_one_has_the_directory(tmp_path: Path) -> None:
    """One that could not look (SIGSTOP) while another took the directory: it ends, with 75."""
    env = {"MARKS": str(tmp_path)}
    with run_tree("flat:three", tmp_path) as app:
        app.up()
        app.process.send_signal(signal.SIGSTOP)
        remove(app, "all")
        with App("flat:three", tmp_path, cwd=TREES, env=env) as second:
            second.up()
            app.process.send_signal(signal.SIGCONT)
            assert app.wait() == 75
            assert f"already running (pid {second.process.pid}" in app.errors
            assert app.find(event="down", exit_code=75)
            assert holder(second) == second.process.pid
            assert second.snapshot().pid == second.process.pid
            assert second.stop() == 0


def test_what_cannot_be_made_anew_is_tried_again(tmp_path: Path) -> None:
    """The directory above is gone too: said once; it is there again soon after that is."""
    above = tmp_path / "above"
    above.mkdir()
    env = {"MARKS": str(tmp_path)}
    with App("flat:three", above, cwd=TREES, env=env, wrapper=IMPATIENT) as app:
        app.up()
        above.rename(tmp_path / "elsewhere")
        wipe(tmp_path / "elsewhere")
        problem = app.wait_for(event="directory cannot be made anew")
        assert str(app.runtime) in problem["error"]
        above.mkdir()
        remade(app)
        assert len(app.find(event="directory cannot be made anew")) == 1
        assert app.stop() == 0


def test_without_inotify_it_is_looked_after_now_and_then(tmp_path: Path) -> None:
    """The kernel has no watch left for us: said, and what is wiped is found out in time."""
    wrapper = (*strace("inotify_init1:error=EMFILE"), *IMPATIENT)
    with run_tree("flat:three", tmp_path, wrapper=wrapper) as app:
        app.up()
        app.wait_for(event="no inotify")
        remove(app, "all")
        app.wait_for(event=WIPED)
        assert cli(app, "status").returncode == 0
        pid = app.snapshot().pid  # below strace
        assert cli(app, "stop").returncode == 0
        assert app.wait() == 0
        assert pid != app.process.pid


@pytest.fixture
def state() -> Iterator[Path]:
    """Make a state directory, with a path that is short enough for temp directories below it."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "state"


def test_a_state_directory_that_is_wiped_loses_nothing(tmp_path: Path, state: Path) -> None:
    """The broker still knows what was put: it is kept in new files, and outlives a killed root."""
    with run_tree("flat:kept", tmp_path, "--state", str(state)) as app:
        app.up()
        assert cli(app, "queue", "put", "orders", given="1\n2\n").returncode == 0
        wipe(state)
        app.wait_for(event="state directory was wiped and is made anew", directory=str(state))
        eventually(lambda: cli(app, "queue", "put", "orders", given="3\n").returncode == 0)
        app.process.kill()
        app.wait()
    with run_tree("flat:kept", tmp_path, "--state", str(state)) as app:
        assert app.up().snapshot().queues[0]["depth"] == 3
        assert app.stop() == 0


def test_workers_have_temp_directories_again(tmp_path: Path, state: Path) -> None:
    """Those that are forked after the state was wiped."""
    with run_tree("flat:kept", tmp_path, "--state", str(state)) as app:
        app.up()
        wipe(state / "tmp")
        app.wait_for(event="state directory was wiped and is made anew")
        killed = set()
        while not list((state / "tmp").iterdir()):  # spares may have had theirs before
            pid = app.wait_worker(
                "kept/w.0", lambda w: w.state == "ready" and w.pid not in killed
            ).pid
            assert pid is not None
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        assert app.stop() == 0
