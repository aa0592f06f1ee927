"""What an app does about bad apps, taken names and places, and bugs of its own."""

import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.config import RunOptions
from supervisor.errors import DefinitionError, SupervisorError
from supervisor.run import with_free_health
from tests.crash.app_harness import App, eventually
from tests.crash.running_app import TREES, family, run_tree, templates

INJECTED = (sys.executable, str(TREES / "injected.py"))


def test_a_bug_in_root_ends_the_app_with_a_report(tmp_path: Path) -> None:
    """An exception nobody expected: what and where on stderr, nothing left, exit 70."""
    env = {"FAULT": "fail"}
    with run_tree("flat:three", tmp_path, wrapper=INJECTED, env=env) as app:
        assert app.wait() == 70
        assert not family(app)
    assert "internal error, ending flat: RuntimeError('a bug of ours')" in app.errors
    assert 'injected.py", line' in app.errors


def test_a_blocked_root_writes_its_stacks(tmp_path: Path) -> None:
    """More than a second away from its sockets: where it was is in the log, and for how long."""
    with run_tree("flat:three", tmp_path, wrapper=INJECTED, env={"FAULT": "block"}) as app:
        assert app.wait_for(event="loop was blocked")["seconds"] >= 1.3
        stack = [str(record["event"]) for record in app.find(path="root", raw=True)]
        assert [line for line in stack if "injected.py" in line and "in block" in line]
        assert app.stop() == 0


@pytest.mark.parametrize(
    ("tree", "problem", "where"),
    [
        ("bad_name:tree", '"web"', "bad_name.py:"),
        ("bad_import:tree", "no_such_module", "bad_import.py:3"),
        ("flat:nothing", "nothing", ""),
        ("bad_cycle:tree", "outer → inner → outer", "bad_cycle.py:6"),
        ("bad_cycle:reserved", '"runtime" is the runtime\'s own', "bad_cycle.py:9"),
    ],
)
def test_a_bad_app_is_one_message_and_nothing_started(
    tmp_path: Path, tree: str, problem: str, where: str
) -> None:
    """Names twice or reserved, cycles, a failing import, no attribute: exit 78, file and line."""
    with run_tree(tree, tmp_path) as app:
        assert app.wait() == 78
        assert not family(app)
    assert problem in app.errors
    assert where in app.errors
    assert app.errors.count("error:") == 1
    assert "Traceback" not in app.errors
    assert app.records == []


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """A runtime directory of more than 107 bytes: says so, and starts nothing."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    with run_tree("flat:three", long) as app:
        assert app.wait() == 78
        assert not family(app)
    assert "at most 107" in app.errors
    assert "SUPERVISOR_RUNTIME_DIR" in app.errors


def test_a_health_port_that_is_taken_names_its_owner(tmp_path: Path) -> None:
    """Exit 78, the port and who has it; nothing was imported or started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_tree("flat:three", tmp_path, "--health", f"127.0.0.1:{port}") as app:
            assert app.wait() == 78
    assert f"127.0.0.1:{port}" in app.errors
    assert f"(pid {os.getpid()})" in app.errors


def test_a_health_port_that_nobody_asked_for_may_be_taken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The default address of two apps on one machine: the second runs without, and says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = RunOptions("flat:three", health=taken.getsockname())
        assert with_free_health(options).health is None
        said = capfd.readouterr().err
        assert f"cannot serve health on 127.0.0.1:{taken.getsockname()[1]}" in said
        assert "running without: choose another with --health" in said
        with pytest.raises(DefinitionError):
            with_free_health(replace(options, health_required=True))
    assert with_free_health(options) == options


def is_up(app: App) -> bool:
    """Whether an app whose log nobody can read is up."""
    try:
        return app.snapshot().phase == "running"
    except SupervisorError:
        return False


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_an_app_runs_without_standard_descriptors(tmp_path: Path, closed: str) -> None:
    """A broken launcher has closed them: nothing else comes into their place, workers included."""
    with run_tree("flat:three", tmp_path, wrapper=("sh", "-c", f'exec "$@" {closed}', "sh")) as app:
        eventually(lambda: is_up(app))
        before = app.ready("three/w.0").pid
        assert before is not None
        for pid in (app.process.pid, *templates(app)):
            for fd, sign in enumerate(("<&-", ">&-", "2>&-")):
                if sign in closed.split():
                    assert os.readlink(f"/proc/{pid}/fd/{fd}") == os.devnull
        os.kill(before, signal.SIGKILL)
        app.wait_worker("three/w.0", lambda one: one.pid != before and one.state == "ready")
        assert app.stop() == 0


def test_without_standard_error_an_exit_code_still_says_what_is_wrong(tmp_path: Path) -> None:
    """The same as with it."""
    wrapper = ("sh", "-c", 'exec "$@" 2>&-', "sh")
    with run_tree("bad_import:tree", tmp_path, wrapper=wrapper) as app:
        assert app.wait() == 78


def test_an_app_may_live_in_a_directory_whose_name_is_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 in its path: it runs, and a mistake in it is named with its place."""
    home = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    home.mkdir()
    (home / "lone.py").write_text(
        "import signal\nfrom supervisor import Child, Supervisor\n"
        'tree = Supervisor("lone", [Child("one", signal.pause)])\n'
    )
    with App("lone:tree", tmp_path, cwd=home) as app:
        app.up()
        assert app.stop() == 0
    (home / "lone.py").write_text("1 / 0\n")
    with App("lone:tree", tmp_path, cwd=home) as app:
        assert app.wait() == 78
    assert "caf\\udce9/lone.py:1" in app.errors
    assert "Traceback" not in app.errors


def test_where_the_control_socket_fits_all_sockets_do(tmp_path: Path) -> None:
    """The longest runtime directory that is not refused: a child that notifies gets ready."""
    (tmp_path / "telling.py").write_text(
        "import signal\nfrom supervisor import Child, Supervisor, link\n"
        "def tell():\n    link.ready()\n    signal.pause()\n"
        'tree = Supervisor("telling", [Child("one", tell, ready="notify")])\n'
    )
    name = "x" * (107 - len(os.fsencode(tmp_path)) - len("//rt/control.sock"))
    (tmp_path / name).mkdir()
    with App("telling:tree", tmp_path / name, cwd=tmp_path) as app:
        app.up()
        assert len(app.socket) == 107
        assert app.stop() == 0
