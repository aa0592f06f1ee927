"""`check` as seen from its user, with a template that answers as told."""

import json
import os
import socket
import sys
from collections.abc import Callable
from types import ModuleType

import msgspec
import pytest

from supervisor.cli import check as check_module
from supervisor.cli.main import execute
from supervisor.definition import ChildDefinition, QueueDefinition, SupervisorDefinition
from supervisor.process.messages import Loaded, LoadFailed, Reply

TREE = SupervisorDefinition(
    "shop",
    "app.py:9",
    [ChildDefinition("web", "app.py:10", "app:web", count=2, queue="orders")],
    queues=[QueueDefinition("orders")],
)


class TemplateGone(Exception):  # noqa: N818
    """The connection ended."""


class Template:
    """A connection to a template that has answered already."""

    def __init__(self, replies: list[Reply] | None) -> None:
        self.replies = replies
        self.loaded: list[object] = []
        self.closed = False
        self._near, self._far = socket.socketpair()
        if replies != []:
            self._far.send(b"x")

    def load(self, app: str, app_args: list[str]) -> None:
        """Note what is to be loaded."""
        self.loaded = [app, app_args]

    def fileno(self) -> int:
        """Be ready to read if there is an answer."""
        return self._near.fileno()

    def flush(self) -> None:
        """Have sent everything."""

    def receive(self) -> list[tuple[Reply, list[int]]]:
        """Answer."""
        if self.replies is None:
            raise TemplateGone
        return [(reply, []) for reply in self.replies]

    def close(self) -> None:
        """Be closed."""
        self.closed = True
        self._near.close()
        self._far.close()


Start = Callable[[list[Reply] | None], Template]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Put a template in the place of the real one."""

    def prepare(replies: list[Reply] | None) -> Template:
        template = Template(replies)
        launcher = ModuleType("supervisor.process.launcher")
        program = ["sleep", "600"] if replies == [] else ["true"]
        pid = os.posix_spawnp(program[0], program, os.environ)
        launcher.start_template = lambda: (pid, template)  # type: ignore[attr-defined]
        launcher.TemplateGone = TemplateGone  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "supervisor.process.launcher", launcher)
        return template

    return prepare


def test_a_good_app_is_drawn(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """The tree and "ok" on standard output; threads and files that stay are a warning."""
    stay = {"threads": ["thread 'pool-1' started by db.py:12"], "left_open": ["file /a.log"]}
    loaded = Loaded(msgspec.msgpack.encode(TREE), **stay)  # type: ignore[arg-type]
    template = start([loaded])
    assert execute(["check", "app:tree", "--seed", "5"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "shop  [one_for_one]  at most 3 restarts in 5s\n"
        "└── web  permanent  count 2  queue orders  app:web\n"
        "queue orders: at most 1000 messages\n"
        "ok\n"
    )
    thread, file = err.splitlines()
    assert thread.startswith("warning: thread 'pool-1' started by db.py:12 runs after the import")
    assert file.startswith("warning: file /a.log is open after the import")
    assert template.loaded == ["app:tree", ["--seed", "5"]]
    assert template.closed


def test_a_good_app_as_json(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole definition, and what it needs."""
    start([Loaded(msgspec.msgpack.encode(TREE))])
    assert execute(["check", "app:tree", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "supervisor.check/1"
    assert document["tree"]["children"][0]["count"] == 2
    assert document["open_files"] > 0


def test_a_bad_app_says_where(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """The problem, its place and the way out; the traceback only with --debug."""
    failed = LoadFailed("count is 0", "app.py:10", "use 1", detail="Traceback: app.py")
    template = start([failed])
    assert execute(["check", "app:tree"]) == 78
    err = capsys.readouterr().err
    assert err == "error: count is 0\n  --> app.py:10\nhelp: use 1\n"
    assert template.closed
    start([failed])
    assert execute(["check", "app:tree", "--debug"]) == 78
    assert "Traceback: app.py" in capsys.readouterr().err


def test_an_app_that_ends_on_import_decides_the_exit_code(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its --help is no error; its usage errors have their own code."""
    start([LoadFailed("app:tree exited while it was imported", exit_code=0)])
    assert execute(["check", "app:tree", "--", "--help"]) == 0
    assert capsys.readouterr() == ("", "")
    start([LoadFailed("app:tree exited while it was imported", exit_code=2)])
    assert execute(["check", "app:tree", "--sede", "5"]) == 2
    assert "exited while it was imported" in capsys.readouterr().err


def test_an_app_that_dies_or_hangs_on_import(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither takes the command with it."""
    start(None)
    assert execute(["check", "app:tree"]) == 78
    assert "died while importing" in capsys.readouterr().err
    monkeypatch.setattr(check_module, "LOAD_TIMEOUT", 0.05)
    monkeypatch.setattr(check_module, "END_TIMEOUT", 0.05)
    start([])
    assert execute(["check", "app:tree"]) == 6
    assert "not imported after 0.05 s" in capsys.readouterr().err
