"""Commands that meet each other, restarts and the stop: one after the other, all answered."""

import contextlib
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supervisor.control.errors import CommandFailed
from supervisor.control.messages import (
    RecycleChildren,
    Request,
    RestartChildren,
    Scale,
    StartChildren,
    StopChildren,
)
from supervisor.errors import NotRunning, ProtocolError
from supervisor.observe import health, judge
from tests.crash.app_harness import App, eventually, workers
from tests.crash.running_app import copies, family, run_tree

CLIENTS, COMMANDS = 4, 25
PATHS = ("busy/w", "busy/w.0", "busy/w.1", "busy/inner", "busy/inner/x", "busy/inner/x.1")


def any_command(dice: random.Random) -> Request:
    """Draw a command."""
    path = dice.choice(PATHS)
    kind = dice.choice((RestartChildren, RestartChildren, StopChildren, StartChildren, Scale))
    if kind is Scale:
        return Scale("busy/w", dice.randint(0, 5))
    assert kind is not Scale
    return kind(path)


def ask_much(app: App, seed: int) -> int:
    """Send commands, one after the other; returns how many were done, the others were refused."""
    dice = random.Random(seed)
    done = 0
    for _ in range(COMMANDS):
        try:
            app.ask(any_command(dice))
            done += 1
        except CommandFailed:  # an answer too; NoAnswer would be none
            pass
    return done


@pytest.mark.parametrize("tree", ["flat:busy", "flat:busy_group"])
def test_commands_of_many_clients_are_carried_out_one_by_one(tmp_path: Path, tree: str) -> None:
    """All answered, never two processes in a slot, and then it is as the last ones say."""
    with run_tree(tree, tmp_path) as app:
        app.up()
        killing = threading.Event()

        def kill() -> None:
            while not killing.wait(0.05):
                for worker in workers(app.snapshot().tree)[:1]:
                    with contextlib.suppress(ProcessLookupError):
                        if worker.pid is not None:
                            os.kill(worker.pid, signal.SIGKILL)

        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            killer = pool.submit(kill)
            asking = [pool.submit(ask_much, app, seed) for seed in range(CLIENTS)]
            try:
                assert sum(one.result() for one in asking) > CLIENTS
            finally:
                killing.set()
            killer.result()
        eventually(lambda: settled(app), "as the last commands say")
        assert copies(app) == []
        assert app.stop() == 0
        assert not family(app)


def settled(app: App) -> bool:
    """Have everything started again, and say whether it is."""
    try:
        for request in (StartChildren("busy/inner"), Scale("busy/w", 3)):
            app.ask(request)
        for path in ("busy/w", "busy/inner/x"):
            app.ask(StartChildren(path))
    except CommandFailed:
        return False
    found = workers(app.snapshot().tree)
    return len(found) == 5 and all(worker.state == "ready" for worker in found)


def test_commands_that_meet_the_stop_are_answered_or_cut_off(tmp_path: Path) -> None:
    """While clients send commands the app is told to stop: it does, exit 0, nothing is left."""
    with run_tree("flat:busy", tmp_path) as app:
        app.up()
        with ThreadPoolExecutor(CLIENTS) as pool:
            asking = [pool.submit(ask_until_gone, app, seed) for seed in range(CLIENTS)]
            eventually(lambda: any(w.generation > 3 for w in workers(app.snapshot().tree)))
            assert app.stop() == 0
            for one in asking:
                one.result()
        assert copies(app) == []
        assert not family(app)


def ask_until_gone(app: App, seed: int) -> None:
    """Send commands until nobody is there."""
    dice = random.Random(seed)
    while app.process.poll() is None:
        try:
            app.ask(any_command(dice))
        except (CommandFailed, NotRunning, ProtocolError):
            pass


def test_a_child_that_was_scaled_to_nothing_can_be_scaled_up_again(tmp_path: Path) -> None:
    """It has no slots, and yet it is declared: its path stays known."""
    with run_tree("flat:busy", tmp_path) as app:
        app.up()
        app.ask(Scale("busy/w", 0))
        assert not [w for w in workers(app.snapshot().tree) if w.path.startswith("busy/w.")]
        app.ask(Scale("w", 2))
        assert app.ready("busy/w.1").generation == 1
        assert app.stop() == 0


def test_a_child_that_was_scaled_to_nothing_is_not_missed(tmp_path: Path) -> None:
    """/readyz and /healthz pass: it has all the slots that it is meant to have, none or two."""
    with run_tree("flat:busy", tmp_path) as app:
        app.up()
        for count in (0, 2):
            app.ask(Scale("busy/w", count))
            now = app.snapshot()
            [child] = [one for one in judge.children(now.tree) if one.path == "busy/w"]
            assert (child.count, child.ready) == (count, count)
            assert health.ready(now, now.time) == {"status": judge.PASS}
            assert judge.child(child, now.time, judge.Downtime().update(now)) == judge.PASS
        assert app.stop() == 0


@pytest.mark.parametrize("path", ["busy/w", "busy/inner/x"])
def test_a_child_that_was_scaled_to_nothing_says_so(tmp_path: Path, path: str) -> None:
    """It is there, and has nothing to be restarted: exit 1, and how to go on; a stop is done."""
    with run_tree("flat:busy", tmp_path) as app:
        app.up()
        app.ask(Scale(path, 0))
        for request in (RestartChildren(path), StartChildren(path), RecycleChildren(path)):
            with pytest.raises(CommandFailed, match=f"{path}: it has no slots") as refused:
                app.ask(request)
            assert (refused.value.exit_code, refused.value.code) == (1, "no-slots")
            assert "scale it up first" in refused.value.hint
        app.ask(StopChildren(path))
        with pytest.raises(CommandFailed, match="no child") as refused:
            app.ask(RestartChildren(path + "y"))
        assert refused.value.exit_code == 4
        assert app.stop() == 0


@pytest.mark.parametrize("path", ["busy/inner", "busy/w.0"])
def test_only_a_child_can_be_scaled(tmp_path: Path, path: str) -> None:
    """A supervisor and a slot have no slots: refused in words, exit 2, and nothing changed."""
    with run_tree("flat:busy", tmp_path) as app:
        before = {worker.path: worker.pid for worker in workers(app.up().snapshot().tree)}
        with pytest.raises(CommandFailed, match="no child with slots") as refused:
            app.ask(Scale(path, 2))
        assert refused.value.exit_code == 2
        assert {worker.path: worker.pid for worker in workers(app.snapshot().tree)} == before
        assert app.stop() == 0


@pytest.mark.parametrize(
    ("request_", "exit_code", "advice"),
    [
        (RestartChildren("inner/b"), 3, "start it first"),
        (StartChildren("inner/innermost/c"), 3, "start it first"),
        (RecycleChildren("inner"), 1, "it is stopped"),
    ],
)
def test_what_is_stopped_is_told_from_what_is_not_there(
    tmp_path: Path, request_: Request, exit_code: int, advice: str
) -> None:
    """A child below a supervisor that was stopped is there, but cannot be restarted or started."""
    with run_tree("nested:tree", tmp_path) as app:
        app.up().ask(StopChildren("inner"))
        with pytest.raises(CommandFailed) as refused:
            app.ask(request_)
        assert refused.value.exit_code == exit_code
        assert advice in refused.value.hint
        assert app.stop() == 0
