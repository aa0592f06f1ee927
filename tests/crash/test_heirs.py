"""Heirs: workers that go on in another's place before their supervisor knows of its end."""

import contextlib
import os
import signal
import threading
from pathlib import Path

import pytest

from supervisor.control.messages import StartChildren, StopChildren
from tests.crash.app_harness import App, eventually, workers
from tests.crash.running_app import await_death, copies, family, kill, run_tree, templates

ROUNDS = 12


def starts(app: App, slot: str = "") -> list[int]:
    """Return the pids of those who ran in a slot, or in any."""
    path = app.runtime.parent / "marks" / "starts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(slot)]


def has_heir(app: App) -> bool:
    """Whether the release's template can wake somebody."""
    for fd in Path(f"/proc/{templates(app)[-1]}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            if os.readlink(fd) == "anon_inode:[eventfd]":
                return True
    return False


def with_heir(app: App) -> App:
    """Wait until all run, and there is an heir."""
    slots = workers(app.snapshot().tree)
    eventually(lambda: len(set(starts(app)) & set(family(app))) == len(slots), "all run")
    eventually(lambda: has_heir(app), "an heir is named")
    return app


def kill_again(app: App, path: str, restarts: int) -> None:
    """Kill who is in a slot once it has said that it runs; wait until it is restarted so often."""
    worker = app.ready(path)
    eventually(lambda: worker.pid in starts(app), "it runs")
    kill(worker.pid)
    app.wait_worker(path, lambda worker: worker.restarts == restarts and worker.state == "ready")


def descriptors(pid: int) -> list[str]:
    """Return what a process has open, by number and kind."""
    fds = Path(f"/proc/{pid}/fd")
    return sorted(f"{fd.name} {os.readlink(fd).partition(':')[0]}" for fd in fds.iterdir())


@pytest.mark.parametrize("slot", [0, 2])
def test_a_worker_is_followed_while_its_supervisor_is_stopped(tmp_path: Path, slot: int) -> None:
    """In its own slot, and with what any other has open; the supervisor finds it as a restart."""
    path = f"kin/w.{slot}"
    with run_tree("kin:many", tmp_path) as app:
        before = app.up().ready(path)
        like_any = descriptors(before.pid or 0)
        with_heir(app).process.send_signal(signal.SIGSTOP)
        kill(before.pid)
        eventually(lambda: len(starts(app, path)) == 2, "it is followed")
        app.process.send_signal(signal.SIGCONT)
        after = app.wait_worker(path, lambda w: w.generation == 2 and w.state == "ready")
        assert (after.pid, after.restarts) == (starts(app, path)[-1], 1)
        assert app.said(path, line=1) == "alive"
        assert descriptors(after.pid or 0) == like_any
        app.ended(f"w.{slot}", "signal:SIGKILL")
        assert copies(app) == []
        assert app.stop() == 0
        assert not family(app)


def test_whoever_is_killed_again_and_again_is_followed_each_time(tmp_path: Path) -> None:
    """One start for each kill, never two at a time, and no process is left over."""
    with run_tree("kin:many", tmp_path) as app:
        with_heir(app.up())
        count = len(family(app))
        for number in range(ROUNDS):
            path = f"kin/w.{number % 3}"
            before = with_heir(app).ready(path)
            kill(before.pid)
            app.wait_worker(
                path, lambda w, last=before.generation: w.generation > last and w.state == "ready"
            )
        assert len(starts(app)) == 3 + ROUNDS
        eventually(lambda: len(family(app)) == count, "as many processes as before")
        assert copies(app) == []
        assert app.stop() == 0


def test_all_at_once_are_restarted_once_each(tmp_path: Path) -> None:
    """One of them is followed by the heir, the others as ever."""
    with run_tree("kin:many", tmp_path) as app:
        for number in range(1, ROUNDS):
            with_heir(app.up())
            for worker in workers(app.snapshot().tree):
                kill(worker.pid)
            for slot in range(3):
                app.wait_worker(
                    f"kin/w.{slot}", lambda w, n=number: w.restarts == n and w.state == "ready"
                )
        assert len(starts(app)) == 3 * ROUNDS
        assert copies(app) == []
        assert app.stop() == 0


def test_an_heir_that_is_killed_as_well_is_no_start(tmp_path: Path) -> None:
    """All that the template has forked dies at once, spares too: one restart for each worker."""
    with run_tree("kin:many", tmp_path) as app:
        for number in range(1, ROUNDS):
            template = templates(with_heir(app.up()))[-1]
            children = Path(f"/proc/{template}/task/{template}/children").read_text().split()
            os.kill(template, signal.SIGSTOP)  # so that it sees them all dead
            for child in children:
                kill(int(child))
            assert all(await_death(int(child)) for child in children)
            os.kill(template, signal.SIGCONT)
            for slot in range(3):
                app.wait_worker(
                    f"kin/w.{slot}", lambda w, n=number: w.restarts == n and w.state == "ready"
                )
        with_heir(app)
        assert len(starts(app)) == 3 * ROUNDS
        assert [w.restarts for w in workers(app.snapshot().tree)] == [ROUNDS - 1] * 3
        assert app.stop() == 0


def test_nobody_runs_for_a_restart_that_has_to_wait(tmp_path: Path) -> None:
    """Where the tree's budget of restarts is used up there is no heir: one start for each end."""
    with run_tree("kin:many", tmp_path, "--restart-burst", "1", "--restart-rate", "4") as app:
        app.up()
        for number in range(1, ROUNDS):
            kill_again(app, "kin/w.1", number)
        app.wait_for(event="restarts are slowed down")
        eventually(lambda: starts(app)[-1] == app.worker("kin/w.1").pid, "the last one runs")
        assert len(starts(app)) == 3 + ROUNDS - 1
        assert copies(app) == []
        assert app.stop() == 0


def test_a_nested_supervisor_has_an_heir_once_it_may_restart_at_once(tmp_path: Path) -> None:
    """It gets its share of the tree's budget with its first restart: one start for each end."""
    with run_tree("kin:nested", tmp_path) as app:
        app.up()
        for number in range(1, ROUNDS):
            if 1 < number < 9:  # it has got eight more than the first has used
                with_heir(app)
            kill_again(app, "kin/inner/w.0", number)
        eventually(lambda: starts(app)[-1] == app.worker("kin/inner/w.0").pid, "the last one runs")
        assert len(starts(app)) == 2 + ROUNDS - 1
        assert copies(app) == []
        assert app.stop() == 0


def test_the_intensity_is_kept_to_the_process(tmp_path: Path) -> None:
    """Two restarts are allowed: the third end gives up, and nobody has run for it."""
    with run_tree("kin:twice", tmp_path) as app:
        app.up()
        for restarts in (1, 2):
            kill_again(with_heir(app), "kin/w.1", restarts)
        kill(app.ready("kin/w.0").pid)
        assert app.wait() != 0
        assert len(starts(app)) == 2 + 2
        assert not family(app)


def test_who_may_have_done_its_work_is_not_followed_unasked(tmp_path: Path) -> None:
    """Exit status 0 has to be judged first: it is restarted by its supervisor, once."""
    with run_tree("kin:silent", tmp_path) as app:
        worker = with_heir(app.up()).ready("kin/w.0")
        app.process.send_signal(signal.SIGSTOP)
        os.kill(worker.pid or 0, signal.SIGUSR1)
        eventually(lambda: not has_heir(app), "the template has seen its end")
        assert len(starts(app)) == 1
        app.process.send_signal(signal.SIGCONT)
        app.wait_worker("kin/w.0", lambda w: w.restarts == 1 and w.state == "ready")
        with_heir(app)
        assert len(starts(app)) == 2
        assert app.stop() == 0


def test_where_others_are_to_be_stopped_first_nobody_is_followed(tmp_path: Path) -> None:
    """Under one_for_all an end is no plain restart: everybody else ends before anybody starts."""
    with run_tree("kin:group", tmp_path) as app:
        app.up()
        for restarts in range(1, ROUNDS):
            kill(app.ready("kin/w.0").pid)
            for path in ("kin/w.0", "kin/x.0"):
                app.wait_worker(
                    path, lambda w, n=restarts: w.generation == n + 1 and w.state == "ready"
                )
            # While one was up alone, nobody else was to be stopped: it may have had one.
            eventually(lambda: not has_heir(app), "nobody is heir any more")
        assert len(starts(app)) == ROUNDS
        assert copies(app) == []
        assert app.stop() == 0


@pytest.mark.parametrize("number", range(ROUNDS))
def test_an_heir_that_nobody_wants_any_more_ends(tmp_path: Path, number: int) -> None:
    """A stop and the worker's end come at once: whichever is first, nothing runs in the slot."""
    with run_tree("kin:many", tmp_path) as app:
        worker = with_heir(app.up()).ready("kin/w.1")
        app.process.send_signal(signal.SIGSTOP)
        asking = threading.Thread(target=app.ask, args=(StopChildren("kin/w"),))
        asking.start()
        if number % 2:
            kill(worker.pid)
            eventually(lambda: len(starts(app)) == 4, "it is followed")
            app.process.send_signal(signal.SIGCONT)
        else:
            app.process.send_signal(signal.SIGCONT)
            kill(worker.pid)
        asking.join()
        assert all(w.state == "stopped" and w.pid is None for w in workers(app.snapshot().tree))
        ran = starts(app)
        eventually(lambda: not set(ran) & set(family(app)), "nobody of them is left")
        app.ask(StartChildren("kin/w"))
        assert app.ready("kin/w.1").pid not in ran
        assert copies(app) == []
        assert app.stop() == 0
