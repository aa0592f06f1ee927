"""An app at its limits: without descriptors, after hundreds of restarts, with nothing to do."""

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli.health import assess
from supervisor.control.errors import ControlError
from supervisor.control.messages import RestartChildren
from supervisor.janitor.journal import JOURNAL
from supervisor.logs.figures import FIGURES
from supervisor.logs.tally import EVERY
from supervisor.observe.health import health
from supervisor.process.sample import own_bytes
from tests.crash.app_harness import App, eventually, workers
from tests.crash.running_app import await_death, family, run_tree, service, templates


def test_too_few_descriptors_are_found_out_before_the_start(tmp_path: Path) -> None:
    """`ulimit -n 64`: exit 78, with what is needed and what there is."""
    limited = ("prlimit", "--nofile=64:64", "--")
    with run_tree("flat:hundred", tmp_path, wrapper=limited) as app:
        assert app.wait() == 78
        assert not family(app)
    assert "needs 996 open files" in app.errors
    assert "limit is 64" in app.errors


def test_a_root_out_of_descriptors_goes_on(tmp_path: Path) -> None:
    """EMFILE: with its reserve it answers, restarts, logs and does as it is told."""
    with run_tree("flat:hundred", tmp_path, "--spares", "0") as app:
        before = [w.pid for w in workers(app.up().snapshot().tree)]
        assert before[0] is not None
        with no_more_descriptors(app.process.pid):
            for _ in range(2):  # what the reserve has lent comes back to it
                assert app.worker("hundred/w.1").pid == before[1]
            os.kill(before[0], signal.SIGKILL)
            app.wait_for(event="child terminated", offender="w.0")
            app.wait_worker("hundred/w.0", lambda w: w.generation == 2 and w.state == "ready")
            app.ask(RestartChildren("hundred/w.2"))
            assert app.worker("hundred/w.2").pid != before[2]
            told = app.wait_for(event="out of file descriptors")
            assert (told["level"], told["pid"]) == ("warning", app.process.pid)
            verdict = assess(app.snapshot())
            assert verdict.word == "WARN"
            assert "out of file descriptors" in verdict.notes[0]
            state = app.snapshot()
            (check,) = health(state, state.time, {})["checks"]["root:outOfDescriptors"]
            assert check["status"] == "warn"
        assert len(app.find(event="out of file descriptors")) == 1
        assert [w.pid for w in workers(app.snapshot().tree)][3:] == before[3:]
        assert not app.find(event="start postponed")
        assert app.stop() == 0


def test_all_ways_of_being_ready_survive_a_lack_of_descriptors(tmp_path: Path) -> None:
    """A notify socket is made with the reserve; a port is tried until there is a descriptor."""
    with run_tree("flat:ways", tmp_path, "--spares", "0") as app:
        before = {w.path: w.pid for w in workers(app.up().snapshot().tree)}
        with no_more_descriptors(app.process.pid):
            for pid in before.values():
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
            for path in before:
                app.wait_worker(path, lambda w: w.generation == 2 and w.state == "ready")
        assert app.stop() == 0


def test_clients_that_root_has_no_descriptors_for_are_told_so(tmp_path: Path) -> None:
    """When silent clients hold the reserve, others hear it at once; later all is as before."""
    with run_tree("flat:three", tmp_path) as app:
        app.up()
        with no_more_descriptors(app.process.pid):
            silent = [connects(app.socket) for _ in range(3)]
            with pytest.raises(ControlError, match="no file descriptors left"):
                app.snapshot()
            for client in silent:
                client.close()
            eventually(lambda: answers(app))
        assert app.stop() == 0


def test_a_start_that_finds_no_descriptors_is_postponed(tmp_path: Path) -> None:
    """Not even a reserve is left: the restart waits until there are some, and others go on."""
    with run_tree("flat:hundred", tmp_path, "--spares", "0") as app:
        before = [w.pid for w in workers(app.up().snapshot().tree)]
        assert before[0] is not None
        pid = app.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # numbers up to 2
        os.kill(before[0], signal.SIGKILL)
        app.wait_for(event="start postponed", child="hundred/w.0")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        app.ready("hundred/w.0")
        assert [w.pid for w in workers(app.snapshot().tree)][1:] == before[1:]
        assert app.stop() == 0


@contextlib.contextmanager
def no_more_descriptors(pid: int) -> Iterator[None]:
    """Forbid a process every descriptor beyond the first number that is free."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    free = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def answers(app: App) -> bool:
    """Whether the control socket answers."""
    try:
        return app.snapshot().pid == app.process.pid
    except ControlError:
        return False


def connects(path: str) -> socket.socket:
    """Connect, and say nothing."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def test_hundreds_of_restarts_leak_nothing(tmp_path: Path) -> None:
    """Five hundred crashes: as many descriptors as before, and hardly more memory."""
    with run_tree("flat:hundred", tmp_path) as app:
        app.up()
        for life in range(2, 7):  # until all is made that is made once
            crash_all(app, life)
        pids = [app.process.pid, *templates(app), service(app, "pump")]
        assert not await_death(app.process.pid, patience=0.3)  # spares come, clients go
        fds, memory = [fds_of(pid) for pid in pids], [memory_of(pid) for pid in pids]
        for life in range(7, 12):
            crash_all(app, life)
        # A spare has two, a client one; a leak of one a restart would be five hundred.
        eventually(
            lambda: all(fds_of(pid) - was < 16 for pid, was in zip(pids, fds, strict=True)),
            "descriptors as before",
        )
        grown = {pid: memory_of(pid) - was for pid, was in zip(pids, memory, strict=True)}
        # Timers of the last seconds are still there. What is kept of a process has over 2 KiB.
        assert max(grown.values()) < 1024, grown
        assert app.stop() == 0


def crash_all(app: App, life: int) -> None:
    """Kill all workers; wait until each is in its n-th life, and its log is settled."""
    for worker in workers(app.snapshot().tree):
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
    eventually(
        lambda: {(w.generation, w.state) for w in workers(app.snapshot().tree)} == {(life, "ready")}
    )


def fds_of(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory_of(pid: int) -> int:
    """Return the memory of a process in KiB: its own, shared with forks or not.

    Not what is private: that is less of a template the more of its forks live.
    """
    own = own_bytes(pid)
    assert own is not None
    return own // 1024


def test_nothing_wakes_up_while_nothing_happens(tmp_path: Path) -> None:
    """20 idle workers: root, supervisors, templates, pump, observer, broker, janitor sleep on."""
    with run_tree("flat:strict", tmp_path, "--health", "127.0.0.1:0") as app:
        app.up()
        eventually(lambda: len(family(app)) == 33)  # 20 workers, 9 of ours, 4 spares
        eventually(lambda: list(tmp_path.rglob("steady.json")))  # the next look is in 30 s
        # And so is the next sweep.
        eventually(lambda: len(JOURNAL.read(str(app.runtime)) or {}) == 3)
        eventually(lambda: counted(app) >= EVERY)  # the pump has written down the last lines
        asleep = eventually(lambda: settled(app))
        assert not await_death(app.process.pid, patience=3.0)
        assert switches(app) == asleep
        assert app.stop() == 0


def counted(app: App) -> float:
    """Return for how many seconds the pump has counted when it wrote its figures."""
    found = FIGURES.read(str(app.runtime))
    return 0.0 if found is None else found.at - found.since


def settled(app: App) -> dict[int, int]:
    """Return the switches of all processes once half a second has passed without any."""
    before = switches(app)
    assert not await_death(app.process.pid, patience=0.5)
    return before if switches(app) == before else {}


def switches(app: App) -> dict[int, int]:
    """Return how often each process of an app has gone to sleep by itself."""
    found = {}
    for pid in family(app):
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(x for x in status.splitlines() if x.startswith("voluntary_ctxt"))
        found[pid] = int(line.split()[1])
    return found
