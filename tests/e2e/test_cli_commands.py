"""The CLI against a control socket: what it asks for, what it prints, what it exits with."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli.main import execute

#: A root without a tree: it claims a runtime directory and answers from a fixed snapshot.
FAKE_ROOT = """
import sys
from supervisor.control.messages import (
    Done, GetSnapshot, RestartChildren, Scale, SnapshotReply, StartChildren, StopChildren,
)
from supervisor.control.paths import resolve
from supervisor.control.runtime_dir import claim
from supervisor.control.server import ControlServer
from supervisor.loop import Loop
from supervisor.observe.snapshot import ChildStatus, Snapshot, SupervisorStatus, WorkerStatus
import os, time

loop, name = Loop(), sys.argv[1]
now = time.time()
web = WorkerStatus(f"{name}/web.0", 0, sys.argv[2], 4242, started_at=now, ready_at=now)
ready = int(web.state == "ready")
child = ChildStatus(f"{name}/web", "worker", "permanent", "app:web", 1, ready, [web])
tree = SupervisorStatus(name, "ready", "one_for_one", "permanent", 3, 5, 0, [child], os.getpid())
snapshot = Snapshot(name, "app:tree", "running", os.getpid(), "r", "1", now, now, tree, [])
paths = [name, f"{name}/web", f"{name}/web.0"]

def handle(request, peer, answer):
    match request:
        case GetSnapshot():
            answer(SnapshotReply(snapshot))
        case StopChildren(path=None):
            answer(Done("stopping"))
            loop.call_later(0.01, loop.stop)
        case StopChildren(path="web"):
            answer(Done("stop: partly", [f"{name}/web.0"], {f"{name}/web.1": "unkillable"}))
        case StartChildren():
            pass  # never answered
        case Scale():
            answer(Done(f"{resolve(request.path, paths, name)} has {request.count} slots"))
        case RestartChildren():
            path = resolve(request.path, paths, name)
            answer(Done(f"restarted {path}", [path]))

directory = claim(name)
server = ControlServer(loop, directory.listen(), handle)
print("up", flush=True)
loop.run()
server.close()
directory.release()
"""


class Roots:
    """Starts fake roots."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, name: str, state: str = "ready") -> subprocess.Popen[str]:
        """Start one and wait until it listens."""
        command = [sys.executable, "-c", FAKE_ROOT, name, state]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Roots]:
    """Run fake roots in a runtime directory of their own."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("SUPERVISOR_NAME", "SUPERVISOR_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    started = Roots()
    yield started
    for process in started.processes:
        process.kill()
        process.communicate()


def test_status_and_tree(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """Data on standard output, nothing on standard error, 0 for a healthy app."""
    roots.start("shop")
    assert execute(["status"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("shop  OK  running")
    assert err == ""
    assert execute(["tree"]) == 0
    assert "└── web  permanent  ready  pid 4242" in capsys.readouterr().out
    assert execute(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["status"]) == ("supervisor.status/1", "ok")
    assert document["snapshot"]["tree"]["children"][0]["workers"][0]["pid"] == 4242
    assert execute(["tree", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tree"]["path"] == "shop"


def test_the_exit_code_of_status_is_the_health(
    roots: Roots, capsys: pytest.CaptureFixture[str]
) -> None:
    """An app with nothing ready exits with 3, and says why."""
    roots.start("shop", "starting")
    assert execute(["status"]) == 3
    assert "FAIL: shop/web has nothing ready (starting)" in capsys.readouterr().out


def test_the_app_is_chosen_or_asked_for(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """With two apps running, the names are listed."""
    roots.start("shop")
    roots.start("bank")
    assert execute(["tree"]) == 2
    err = capsys.readouterr().err
    assert "2 apps are running: bank, shop" in err
    assert "--name" in err
    assert execute(["tree", "--name", "bank"]) == 0
    assert capsys.readouterr().out.startswith("bank  [one_for_one]")


def test_orders(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """One order after the other; what fails does not keep the others from being given."""
    roots.start("shop")
    assert execute(["restart", "web"]) == 0
    assert capsys.readouterr().out == "restarted shop/web\n"
    assert execute(["restart", "shop/wep"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert 'did you mean "shop/web"?' in err
    assert execute(["restart", "web.0", "wep"]) == 5
    out, err = capsys.readouterr()
    assert out == "restarted shop/web.0\n"
    assert "wep" in err
    assert execute(["restart", "x1", "x2"]) == 4
    assert execute(["restart", "web", "wep", "--json"]) == 5
    capsys_out = capsys.readouterr().out
    document = json.loads(capsys_out[capsys_out.index("{") :])
    assert document["changed"] == ["shop/web"]
    assert "no child" in document["failed"]["wep"]


def test_scale_in_both_forms(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """PATH=N and PATH N are the same."""
    roots.start("shop")
    assert execute(["scale", "web=4"]) == 0
    assert execute(["scale", "shop/web", "4"]) == 0
    assert capsys.readouterr().out == "shop/web has 4 slots\n" * 2
    assert execute(["scale", "webb=4", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "no-such-child"


def test_a_partial_failure_is_5(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """What failed is on standard error, path by path."""
    roots.start("shop")
    assert execute(["stop", "web"]) == 5
    out, err = capsys.readouterr()
    assert out == "stop: partly\n"
    assert err == "error: shop/web.1: unkillable\n"


def test_an_order_that_takes_too_long_is_6(
    roots: Roots, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says that it may still be carried out."""
    roots.start("shop")
    assert execute(["start", "web", "--timeout", "0.05"]) == 6
    assert "may still be carried out" in capsys.readouterr().err


def test_stop_waits_for_the_end_of_the_app(
    roots: Roots, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the command returns, the process has ended and the name is free."""
    process = roots.start("shop")
    assert execute(["stop"]) == 0
    assert capsys.readouterr().out == "stopped\n"
    assert process.poll() == 0
    assert execute(["status"]) == 3


def test_a_reader_that_goes_away_is_no_crash(roots: Roots) -> None:
    """`supervisor tree | head` ends without a traceback."""
    roots.start("shop")
    command = [sys.executable, "-m", "supervisor.cli.main", "tree"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    process.wait()
