"""Stops of all kinds: at every stage, twice, in storms, and from terminals that hang up."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from supervisor.control.client import ControlClient, get_snapshot
from supervisor.control.errors import CommandFailed
from supervisor.control.messages import Ping, Pong, Reload, RestartChildren, Scale, StopChildren
from supervisor.errors import SupervisorError
from supervisor.root.interrupts import ECHO
from tests.crash.app_harness import PATIENCE, eventually, workers
from tests.crash.running_app import TREES, await_death, family, gone, run_tree, strace, templates


def notes(directory: Path) -> list[str]:
    """Return what the workers have noted, in order."""
    path = directory / "marks" / "notes"
    return path.read_text().splitlines() if path.exists() else []


def test_children_that_crash_while_they_are_stopped_are_not_restarted(tmp_path: Path) -> None:
    """A crash in the middle of an orderly stop: the stop goes on, in order, and is one."""
    with run_tree("stopping:crashing", tmp_path) as app:
        app.up()
        for slot in "abcd":
            app.said(f"crashing/{slot}.0")
        assert app.stop() == 0
    assert notes(tmp_path) == [f"stopped crashing/{slot}.0" for slot in "dcba"]
    lives = {record["source"]["incarnation"] for record in app.find(raw=True)}
    assert lives - {None} == {1}


def test_a_command_during_a_stop_is_refused_and_the_stop_goes_on(tmp_path: Path) -> None:
    """Restart, scale, reload, another stop: an answer at once, and no second stop."""
    with run_tree("stopping:slow", tmp_path) as app:
        app.up().said("slow/a.0")
        app.process.terminate()
        eventually(lambda: app.snapshot().phase == "stopping")
        for request in (RestartChildren("slow/a"), Scale("slow/a", 3), Reload()):
            with pytest.raises(CommandFailed) as refused:
                app.ask(request)
            assert refused.value.exit_code == 75
        app.ask(StopChildren())
        assert app.wait() == 0
    assert notes(tmp_path) == ["stopped slow/a.0"]


def test_a_stop_while_the_app_is_imported_ends_at_once(tmp_path: Path) -> None:
    """SIGTERM while the app's module is being imported: exit 0, and nothing was started."""
    with run_tree("slow_import:tree", tmp_path) as app:
        eventually((tmp_path / "marks" / "importing").exists)
        assert app.stop() == 0
        gone(app, patience=2.0)
    assert app.records == []


def test_a_stop_while_a_child_starts_stops_those_that_were_started(tmp_path: Path) -> None:
    """SIGTERM while the third child is in its init: it is ended, the others stop in reverse."""
    with run_tree("stopping:stuck", tmp_path) as app:
        for slot in "abc":
            app.said(f"stuck/{slot}.0")
        assert app.stop() == 0
        gone(app, patience=0.5)
    assert notes(tmp_path) == ["stopped stuck/b.0", "stopped stuck/a.0"]
    assert "up" not in {r["event"] for r in app.records}


@pytest.mark.parametrize("step", range(8))
def test_a_stop_at_any_moment_of_the_start_is_orderly(tmp_path: Path, step: int) -> None:
    """SIGTERM after so many moments: exit 0 once there is a root, and nothing is ever left."""
    with run_tree("stopping:orderly", tmp_path) as app:
        eventually((app.runtime / "control.sock").exists)
        assert not await_death(app.process.pid, patience=0.04 * step)
        app.process.terminate()
        code = app.wait()
        gone(app, patience=0.5)
    # Before root's own handlers are there, the kernel's default: nothing was started yet.
    assert code == 0 or (code == -signal.SIGTERM and step == 0)
    assert "internal error" not in app.errors


def test_a_second_interrupt_ends_everything_at_once(tmp_path: Path) -> None:
    """Ctrl-C twice on a terminal: a child that never stops is killed; it says so, exit 130."""
    with terminal(tmp_path, "stopping:stubborn") as (process, master):
        read_until(master, b"alive")
        os.write(master, b"\x03")
        read_until(master, b"again to stop at once")
        began = monotonic()
        eventually(lambda: monotonic() - began >= ECHO, "the next one to be no echo")
        os.write(master, b"\x03")
        read_until(master, b"killing everything")
        assert process.wait(PATIENCE) == 130
        assert monotonic() - began < 2.0


@pytest.mark.parametrize("which", [0, 1])
def test_a_second_interrupt_ends_what_a_stopped_template_cannot(tmp_path: Path, which: int) -> None:
    """The runtime's template, or the release's: root goes when its daemons are gone too."""
    with run_tree("nested:tree", tmp_path) as app:
        app.up()
        for slot in ("z", "inner/b", "inner/innermost/c"):
            app.said(f"deep/{slot}.0", 2)  # its two daemons are there
        os.kill(templates(app)[which], signal.SIGSTOP)
        app.process.send_signal(signal.SIGINT)
        began = monotonic()
        eventually(lambda: monotonic() - began >= ECHO, "the next one to be no echo")
        app.process.send_signal(signal.SIGINT)
        assert app.wait() == 130
        assert family(app) == {}


def test_a_terminal_that_hangs_up_stops_the_app_in_order(tmp_path: Path) -> None:
    """The window is closed: SIGHUP, and nowhere to write to; every child is stopped in order."""
    with terminal(tmp_path, "stopping:orderly") as (process, master):
        read_until(master, b"alive", times=3)
        os.close(master)
        assert process.wait(PATIENCE) == 0
    assert notes(tmp_path) == [f"stopped orderly/{slot}.0" for slot in "cba"]


def test_a_reader_that_goes_away_does_not_hurt(tmp_path: Path) -> None:
    """`supervisor run | head -1`: no spinning, no crash, and a stop is still an orderly one."""
    read, write = os.pipe()
    with terminal(tmp_path, "stopping:orderly", stdout=write) as (process, _master):
        os.close(write)
        assert os.read(read, 1)
        os.close(read)
        eventually(lambda: is_up(tmp_path))
        spent = cpu_of(tmp_path)
        if not await_death(process.pid, patience=0.5):  # it may end; it may not spin
            assert cpu_of(tmp_path) - spent < 0.2
            process.terminate()
        assert process.wait(PATIENCE) == 0


def test_a_storm_of_signals_starves_nobody(tmp_path: Path) -> None:
    """Ten thousand signals: the control socket answers meanwhile, and the tree is as before."""
    with run_tree("flat:three", tmp_path) as app:
        before = [w.pid for w in workers(app.up().snapshot().tree)]
        with ControlClient(app.socket) as client:
            slowest = 0.0
            for number in range(10_000):
                app.process.send_signal(signal.SIGCHLD)
                if number % 500 == 0:
                    began = monotonic()
                    assert isinstance(client.request(Ping()), Pong)
                    slowest = max(slowest, monotonic() - began)
        assert slowest < 0.25
        assert [w.pid for w in workers(app.snapshot().tree)] == before
        assert app.stop() == 0


def test_a_storm_of_hangups_is_a_few_reloads(tmp_path: Path) -> None:
    """Ten thousand SIGHUPs without a terminal: said once in each row of reloads, not each time."""
    with run_tree("flat:three", tmp_path, start_new_session=True) as app:
        before = [w.pid for w in workers(app.up().snapshot().tree)]
        for _ in range(10_000):
            app.process.send_signal(signal.SIGHUP)
        app.wait_for(event="reloaded")
        eventually(lambda: not app.snapshot().reloading, "the last one is over")
        reloads = len(app.find(event="reloaded"))
        assert 1 <= app.errors.count("SIGHUP: reloading") <= reloads
        assert reloads < 100
        assert [w.pid for w in workers(app.snapshot().tree)] == before
        assert app.stop() == 0


def test_interrupted_system_calls_are_made_again(tmp_path: Path) -> None:
    """EINTR from every fifth call, in root, templates and workers: nothing is lost."""
    calls = "sendmsg,recvmsg,sendto,recvfrom,epoll_wait,poll,waitid,accept4"
    wrapper = strace(f"{calls}:error=EINTR:when=5+5")
    with run_tree("flat:three", tmp_path, wrapper=wrapper) as app:
        worker = app.up().worker("three/w.0")
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        app.wait_worker("three/w.0", lambda w: w.generation == 2 and w.state == "ready")
        app.ask(StopChildren())
        assert app.wait() == 0


@contextmanager
def terminal(
    directory: Path, tree: str, stdout: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run an app on a terminal of its own; yields its process and our end of the terminal."""
    master, slave = os.openpty()
    (directory / "marks").mkdir()
    environment = {
        **os.environ,
        "SUPERVISOR_RUNTIME_DIR": str(directory / "rt"),
        "MARKS": str(directory / "marks"),
    }
    command = [sys.executable, "-m", "supervisor.cli.main", "run", tree, "--no-health"]
    process = subprocess.Popen(
        ["setsid", "--ctty", *command],
        stdin=slave,
        stdout=slave if stdout is None else stdout,
        stderr=slave,
        cwd=TREES,
        env=environment,
    )
    os.close(slave)
    try:
        yield process, master
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        try:
            os.close(master)
        except OSError:  # the test has closed it
            pass


def read_until(fd: int, text: bytes, times: int = 1) -> bytes:
    """Read from a terminal until a text has come, so many times."""
    deadline, seen = monotonic() + PATIENCE, b""
    while seen.count(text) < times:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - monotonic()))
        assert ready, f"never came: {text!r} in {seen!r}"
        seen += os.read(fd, 4096)
    return seen


def is_up(directory: Path) -> bool:
    """Whether the app is up."""
    try:
        return get_snapshot(str(directory / "rt" / "control.sock")).phase == "running"
    except SupervisorError:
        return False


def cpu_of(directory: Path) -> float:
    """Return the processor seconds that all processes of an app have used."""
    ticks = 0
    for pid in family(directory / "rt"):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
