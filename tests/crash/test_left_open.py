"""Files and sockets that an app opens when it is imported: no fork of it must have them."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.messages import Reload
from supervisor.process import messages
from supervisor.process.launch import Node
from tests.crash.app_harness import App
from tests.crash.process_harness import RealTemplate

#: A worker that opens a dozen files of its own, and then writes to what its module has opened.
APP = """
import {modules}
from supervisor import Child, Supervisor

{opens}

def live():
    own = [open(f"own{{n}}.txt", "w") for n in range(12)]
    {uses}
    print("forked" if preloaded() else "imported", *(one.tell() for one in own), flush=True)
    print(*[os.path.getsize(f"own{{n}}.txt") for n in range(12)], flush=True)
    signal.pause()

def preloaded():
    return os.getpid() != imported_in

imported_in = os.getpid()
tree = Supervisor("t", [Child("x", live)])
"""
NONE = " ".join(["0"] * 12)
MODULES = "asyncio, gc, logging, os, select, signal, socket, sys"


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RealTemplate]:
    """A template in a directory for an app that a test writes."""
    monkeypatch.chdir(tmp_path)
    with RealTemplate() as template:
        yield template


def write(directory: Path, opens: str, uses: str = "pass") -> None:
    """Write an app that opens something."""
    (directory / "app.py").write_text(APP.format(modules=MODULES, opens=opens, uses=uses))


# --- a template by itself ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opens", "named"),
    [
        ("file = open('a.txt', 'w')", "file {cwd}/a.txt"),
        ("file = open('app.py')", "file {cwd}/app.py"),
        ("logging.getLogger().addHandler(logging.FileHandler('a.log'))", "file {cwd}/a.log"),
        ("sock = socket.socket()", "socket, opened by {cwd}/app.py:5"),
        ("sock = socket.socket(); sock.bind(('127.0.0.1', 0)); sock.listen()",
         "socket bound to 127.0.0.1:"),
        ("sock = socket.create_connection(('127.0.0.1', {port}))",
         "socket connected to 127.0.0.1:{port}, opened by {cwd}/app.py:5"),
        ("poll = select.epoll()", "eventpoll"),
        ("pipe = os.pipe()", "pipe"),
        ("fd = os.memfd_create('mine')", "file /memfd"),
    ],
)  # fmt: skip
def test_a_template_with_open_files_does_not_fork_and_names_them(
    empty: RealTemplate, tmp_path: Path, opens: str, named: str
) -> None:
    """What it is, and of a socket the line, are told at once and at each refusal."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = {"cwd": tmp_path, "port": server.getsockname()[1]}
        write(tmp_path, opens.format(**facts))
        loaded = empty.load("app:tree")
    assert isinstance(loaded, messages.Loaded)
    assert loaded.left_open[0].startswith(named.format(**facts))
    assert len(loaded.left_open) == (2 if "pipe" in named else 1)
    refused = empty.ask_for(Node("t/x"), app="app:tree")
    failed = empty.reply(messages.SpawnFailed, serial=refused.serial)
    assert loaded.left_open[0] in failed.problem
    assert not failed.transient


def test_of_very_many_a_few_are_named(empty: RealTemplate, tmp_path: Path) -> None:
    """The message stays short."""
    write(tmp_path, "files = [open('app.py') for _ in range(500)]")
    loaded = empty.load("app:tree")
    assert isinstance(loaded, messages.Loaded)
    assert len(loaded.left_open) == 11
    assert loaded.left_open[-1] == "490 more"


@pytest.mark.parametrize(
    "opens",
    [
        "pass",
        "open('a.txt', 'w').close()",
        "loop = asyncio.new_event_loop(); loop.close()",
        "ring = [open('a.txt', 'w')]; ring.append(ring); del ring  # forgotten",
        "import random, ssl, uuid, sqlite3, multiprocessing, concurrent.futures; uuid.uuid4()",
        "import workers, workers.cache",
        "log = logging.getLogger('x'); log.addHandler(logging.StreamHandler())",
        "fd = os.open('a.txt', os.O_CREAT); os.dup2(fd, 0); os.close(fd)",
    ],
)
def test_what_leaves_nothing_open_is_forked(
    empty: RealTemplate, tmp_path: Path, opens: str
) -> None:
    """Closed, or forgotten, or nobody's but the runtime's: workers are forked as ever."""
    write(tmp_path, opens)
    loaded = empty.load("app:tree")
    assert isinstance(loaded, messages.Loaded)
    assert loaded.left_open == []
    assert empty.spawn(Node("t/x"), app="app:tree").line() == f"forked {NONE}"


def test_devices_without_state_are_shared(empty: RealTemplate, tmp_path: Path) -> None:
    """/dev/null and the like stay open in a fork, under the same number."""
    opens = "null, noise = open(os.devnull, 'w'), open('/dev/urandom', 'rb')"
    uses = "null.write('x' * 99999); null.flush(); assert len(noise.read(9)) == 9"
    write(tmp_path, opens, uses)
    loaded = empty.load("app:tree")
    assert isinstance(loaded, messages.Loaded)
    assert loaded.left_open == []
    process = empty.spawn(Node("t/x"), app="app:tree")
    assert process.line() == f"forked {NONE}"
    assert process.line() == NONE


def test_memory_of_multiprocessing_is_shared(empty: RealTemplate, tmp_path: Path) -> None:
    """A file, too, but one that nobody reads or writes: forks have the memory in common."""
    opens = "import multiprocessing; number = multiprocessing.Value('i')"
    write(tmp_path, opens, "number.value += 1; own = own[: number.value]")
    loaded = empty.load("app:tree")
    assert isinstance(loaded, messages.Loaded)
    assert loaded.left_open == []
    lines = [empty.spawn(Node("t/x"), app="app:tree").line() for _ in range(3)]
    assert lines == ["forked 0", "forked 0 0", "forked 0 0 0"]


# --- a whole app ------------------------------------------------------------------------------

EVENT = "app leaves descriptors open: workers import it afresh"


@pytest.mark.parametrize(
    ("opens", "uses", "named"),
    [
        ("log = open('module.log', 'a', buffering=1)", "log.write('here\\n')", "module.log"),
        ("log = logging.getLogger('x'); log.addHandler(logging.FileHandler('module.log'))",
         "log.warning('here')", "module.log"),
        ("sock = socket.create_connection(('127.0.0.1', {port}))", "sock.sendall(b'here')",
         "socket connected to 127.0.0.1:{port}, opened by"),
    ],
)  # fmt: skip
def test_a_worker_writes_where_its_module_means(
    tmp_path: Path, opens: str, uses: str, named: str
) -> None:
    """The app is named and imported afresh by each worker, restarted ones too: nobody's file."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        port = server.getsockname()[1]
        write(tmp_path, opens.format(port=port), uses)
        with App("app:tree", tmp_path, cwd=tmp_path) as app:
            app.up()
            warning = app.wait_for(event=EVENT)
            assert named.format(port=port) in warning["descriptors"][0]
            assert "preload=False" in warning["help"]
            pid = None
            for life in range(3):
                assert app.said("t/x.0", 2 * life) == f"imported {NONE}"
                assert app.said("t/x.0", 2 * life + 1) == NONE
                pid = app.wait_worker("t/x.0", lambda w, was=pid: w.pid not in (None, was)).pid  # type: ignore[misc]
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
            app.ready("t/x.0")
            assert app.stop() == 0
        if named == "module.log":
            assert (tmp_path / named).read_text().count("here") >= 3


def test_what_a_reload_leaves_open_is_found_as_well(tmp_path: Path) -> None:
    """The new release opens a file when imported: its workers are not forked."""
    write(tmp_path, "pass")
    with App("app:tree", tmp_path, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"}) as app:
        assert app.up().said("t/x.0") == f"forked {NONE}"
        write(tmp_path, "log = open('module.log', 'a', buffering=1)", "log.write('here\\n')")
        app.ask(Reload())
        app.wait_for(event=EVENT)
        assert app.said("t/x.0", 2) == f"imported {NONE}"
        assert (tmp_path / "module.log").read_text() == "here\n"
        assert app.stop() == 0


def test_who_means_to_import_afresh_is_not_warned(tmp_path: Path) -> None:
    """preload=False for all: nothing would have been forked."""
    write(tmp_path, "log = open('module.log', 'a')")
    source = (tmp_path / "app.py").read_text().replace("live)]", "live, preload=False)]")
    (tmp_path / "app.py").write_text(source)
    with App("app:tree", tmp_path, cwd=tmp_path) as app:
        assert app.up().said("t/x.0") == f"imported {NONE}"
        assert app.stop() == 0
        assert not app.find(event=EVENT)
