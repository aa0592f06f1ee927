"""Starting worker processes: what they are given, when they count as started, what goes wrong."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.control.messages import StopChildren
from tests.crash.app_harness import App, alive, workers

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


# --- what a process is given ------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A run started under odd circumstances: signals blocked and ignored, umask, descriptors."""

    def odd() -> None:
        os.umask(0o777)
        os.nice(1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2})
        os.dup2(os.open(os.devnull, os.O_RDONLY), 77)

    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    directory = tmp_path_factory.mktemp("s")
    env = {"A": "0", "B": "0"}
    with App("starting:settings", directory, env=env, preexec_fn=odd, close_fds=False) as app:
        yield app.up()
        assert app.stop() == 0


def facts(app: App, child: str) -> dict[str, Any]:
    """Return what a child says of itself."""
    found = json.loads(app.said(f"settings/{child}.0"))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("child", ["plain", "custom", "fresh", "nobody"])
def test_a_worker_has_its_own_descriptors_and_no_others(settings: App, child: str) -> None:
    """0, 1, 2, the link, one for stacks, what was declared, and the one that lists them."""
    found = facts(settings, child)
    assert len(found["fds"]) == 3 + 1 + 1 + len(found["declared"]) + 1
    assert 77 not in found["fds"]
    assert found["stdin"] == "/dev/null"


@pytest.mark.parametrize("child", ["plain", "custom", "fresh", "nobody"])
def test_a_worker_starts_with_signals_as_they_should_be(settings: App, child: str) -> None:
    """Whatever root was started with: nothing is blocked, and only what Python ignores ignored."""
    found = facts(settings, child)
    python = {signal.SIGPIPE, signal.SIGXFSZ}
    assert found["blocked"] == 0
    assert not found["ignored"] & ~sum(1 << (signum - 1) for signum in python)
    assert found["session"]


def test_a_worker_is_given_what_its_child_declares(settings: App) -> None:
    """Umask, niceness, directory, environment and limits are the declared ones."""
    plain, custom = facts(settings, "plain"), facts(settings, "custom")
    assert (plain["umask"], plain["nice"], plain["env"]["A"]) == (0o077, 1, "0")
    assert (custom["umask"], custom["nice"], custom["cwd"]) == (0o027, 4, "/")
    assert (custom["env"]["A"], custom["env"]["B"]) == ("1", None)
    assert custom["nofile"] == [200, 200]


def test_a_worker_of_another_user_is_that_user_for_good(settings: App) -> None:
    """All ids are nobody's, no groups are left, nothing can be got back."""
    found = facts(settings, "nobody")
    assert len(set(found["uid"])) == 1
    assert found["uid"][0] != "0"
    assert len(set(found["gid"])) == 1
    assert found["gid"][0] != "0"
    assert found["groups"] == []
    assert found["privileges"] == "1"


@pytest.mark.parametrize("child", ["program", "program-nobody"])
def test_a_program_is_given_three_descriptors_and_clean_signals(settings: App, child: str) -> None:
    """A program has 0, 1 and 2, nothing blocked, nothing ignored, and its umask."""
    path = f"settings/{child}.0"
    settings.wait_for(path=path, event="end")
    lines = [record["event"] for record in settings.find(path=path)]
    assert lines[0] == "0077"
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    assert int(facts["SigBlk"], 16) == 0
    assert int(facts["SigIgn"], 16) == 0
    assert (facts["Uid"].split()[0] == "0") is (child == "program")
    assert [line for line in lines[1:] if line.isdigit()] == ["0", "1", "2"]


# --- programs that cannot be executed ---------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no-interpreter", "the interpreter on its first line is missing"),
        ("no-program", "it is not a program"),
        ("long", "too large"),
    ],
)
def test_a_program_that_cannot_be_executed_fails_the_start(
    tmp_path: Path, kind: str, said: str
) -> None:
    """ENOENT, ENOEXEC, E2BIG: named with a hint, tried once, exit code 1."""
    program = tmp_path / "program"
    program.write_text("#!/no/interpreter\n" if kind == "no-interpreter" else "no magic\n")
    program.chmod(0o700)
    name = "true" if kind == "long" else str(program)
    with App("starting:programs", tmp_path, "--", name, kind) as app:
        assert app.wait() == 1
        found = app.find(event="child failed to start")
        assert len(found) == 1
        assert found[0]["offender"] == "program.0"
        app.wait_for(event="could not start", child="program.0", patience=0.1)
        lines = [r["event"] for r in app.find(path="programs/program.0")]
        assert any(said in line and repr(name) in line for line in lines), lines


@pytest.mark.parametrize("kind", ["missing", "not-executable"])
def test_a_program_that_is_not_there_is_an_error_of_the_definition(
    tmp_path: Path, kind: str
) -> None:
    """Seen before anything is started: exit code 78, with the line of the Child."""
    program = tmp_path / "program"
    if kind != "missing":
        program.write_text("#!/bin/sh\n")
    with App("starting:programs", tmp_path, "--", str(program)) as app:
        assert app.wait() == 78
        assert str(program) in app.errors
        assert "starting.py:" in app.errors


def test_a_program_that_vanishes_fails_its_restarts(tmp_path: Path) -> None:
    """ENOENT at a restart is a failed start, which counts for the intensity: no endless loop."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o700)
    with App("starting:programs", tmp_path, "--", str(program)) as app:
        pid = app.up().ready("programs/program.0").pid
        program.unlink()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert app.wait() == 70
        assert len(app.find(event="child failed to start", offender="program.0")) == 3
        lines = [r["event"] for r in app.find(path="programs/program.0")]
        assert any("there is no such program" in line for line in lines)


# --- being ready ------------------------------------------------------------------------------


def test_children_start_when_the_one_before_says_it_is_ready_and_stop_in_reverse(
    tmp_path: Path,
) -> None:
    """A port, a datagram, a message, an exec: each next start waits for it; the stop goes back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with App("starting:readiness", tmp_path, "--", str(port)) as app:
        app.up()
        for path in ("readiness/async.0", "readiness/last.0", "readiness/last.1"):
            assert app.said(path) == "working"
        said = [r["event"] for r in app.records if r.get("raw") and r["event"] != "working"]
        assert said == ["listening", "notifying", "saying", "told"]
        tree = app.snapshot().tree
        before = 0.0
        for child in tree.children:
            slots = workers(child)
            starts = [slot.started_at for slot in slots]
            assert all(start is not None and start >= before for start in starts)
            before = max(slot.ready_at or 0.0 for slot in slots)
        assert app.stop() == 0
        ended = [r["source"]["path"] for r in app.find(event="cleaned up")]
        assert sorted(ended[:2]) == ["readiness/last.0", "readiness/last.1"]
        assert ended[2] == "readiness/async.0"


def test_a_first_start_that_hangs_ends_the_app_with_1(tmp_path: Path) -> None:
    """Not ready in `start_timeout`: stacks, start failure, what was started is stopped, exit 1."""
    with App("starting:late", tmp_path) as app:
        assert app.wait() == 1
        app.wait_for(event="could not start", child="late.0", patience=0.1)
        record = app.wait_for(child="late/late.0", cause="start_timeout", patience=0.1)
        assert "in hang_at_start" in record["stacks"]
        assert not app.find(path="late/never.0")


# --- exit codes -------------------------------------------------------------------------------


def test_an_app_that_gives_up_ends_with_70(tmp_path: Path) -> None:
    """More restarts than the intensity allows: everything is stopped, exit 70."""
    with App("starting:gives_up", tmp_path) as app:
        assert app.wait() == 70
        assert app.ends("crash.0") == ["exit:5"] * 4
        app.wait_for(event="reached maximum restart intensity", patience=0.1)


def test_an_app_that_is_asked_to_stop_ends_with_0(tmp_path: Path) -> None:
    """An orderly end on request, over the control socket."""
    with App("starting:quiet", tmp_path) as app:
        app.up()
        pids = [slot.pid for slot in workers(app.snapshot().tree)]
        app.ask(StopChildren())
        assert app.wait() == 0
        assert not any(pid and alive(pid) for pid in pids)


def test_an_app_that_cannot_be_imported_ends_with_78(tmp_path: Path) -> None:
    """The app is wrong: nothing is started, and it is said where it is wrong."""
    (tmp_path / "broken.py").write_text("import supervisor\n\nraise KeyError('settings')\n")
    with App("broken:tree", tmp_path, cwd=tmp_path) as app:
        assert app.wait() == 78
        assert "KeyError" in app.errors
        assert "broken.py:3" in app.errors


# --- what the app's code does to the template -------------------------------------------------


def test_an_app_with_threads_is_imported_afresh_in_each_worker(tmp_path: Path) -> None:
    """A thread at import: named with its place; workers have their own, and restart as always."""
    with App("threaded:tree", tmp_path) as app:
        app.up()
        warning = app.wait_for(event="app starts threads: workers import it afresh")
        assert "pool-of-the-app" in warning["threads"][0]
        assert "threaded.py:10" in warning["threads"][0]
        for path in ("threaded/one.0", "threaded/one.1", "threaded/two.0"):
            assert app.said(path).endswith("True")
        pid = app.ready("threaded/one.0").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert app.said("threaded/one.0", 1).endswith("True")
        assert app.stop() == 0


def test_code_replaced_on_disk_does_not_touch_what_runs(tmp_path: Path) -> None:
    """Running code and restarts are the loaded release's; a fresh import that fails is reported."""
    program = """
import os, signal
from supervisor import Child, Supervisor
def live():
    print("version 1", flush=True)
    while True:
        signal.pause()
tree = Supervisor("code", [Child("kept", live), Child("fresh", live, preload=False)], intensity=2)
"""
    module = tmp_path / "code_app.py"
    module.write_text(program)
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    with App("code_app:tree", tmp_path, cwd=tmp_path, env=env) as app:
        app.up()
        module.write_text("this is no Python\n")
        kept, fresh = app.ready("code/kept.0").pid, app.ready("code/fresh.0").pid
        assert kept is not None
        assert fresh is not None
        os.kill(kept, signal.SIGKILL)
        assert app.said("code/kept.0", 1) == "version 1"
        os.kill(fresh, signal.SIGKILL)
        failed = app.wait_for(event="child failed to start", offender="fresh.0")
        assert failed["cause"] == "exception:StartError"
        assert app.wait() == 70


def test_a_definition_may_be_larger_than_a_packet(tmp_path: Path) -> None:
    """300 KB of environment arrive: at a worker, its successor, and below a nested supervisor."""
    with App("starting:large", tmp_path) as app:
        app.up()
        for path in ("large/one.0", "large/inner/two.0"):
            assert app.said(path) == "given 300000"
            pid = app.ready(path).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert app.said(path, 1) == "given 300000"
        assert app.stop() == 0
