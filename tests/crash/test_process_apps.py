"""Apps in a template: importing them, what keeps it from forking, how their targets are run."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from supervisor import link as links
from supervisor.definition import SupervisorDefinition
from supervisor.process import messages
from supervisor.process.launch import Node
from tests.crash.app_harness import eventually
from tests.crash.process_harness import APPS, RealProcess, RealTemplate

APP = "process_tree:tree"


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealTemplate]:
    """A template that has the tree loaded."""
    monkeypatch.chdir(APPS)
    with RealTemplate() as template:
        assert isinstance(template.load(APP), messages.Loaded)
        yield template


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RealTemplate]:
    """A template in a directory for an app that a test writes."""
    monkeypatch.chdir(tmp_path)
    with RealTemplate() as template:
        yield template


def is_asleep(pid: int) -> bool:
    """Whether a process waits for something."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def start(template: RealTemplate, child: str, **launch: object) -> RealProcess:
    """Start a child of the tree."""
    return template.spawn(Node(f"shop/{child}"), app=APP, **launch)


def ended(template: RealTemplate, process: RealProcess) -> int:
    """Wait for the end of a process; returns its exit code."""
    return os.waitstatus_to_exitcode(template.exited(process).status)


# --- importing --------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["tree", "make"])
def test_a_tree_or_what_makes_one_is_loaded_and_checked(
    monkeypatch: pytest.MonkeyPatch, attribute: str
) -> None:
    """The answer is the checked tree as data; the module is found in root's directory."""
    monkeypatch.chdir(APPS)
    with RealTemplate() as template:
        loaded = template.load(f"process_tree:{attribute}")
        assert isinstance(loaded, messages.Loaded), loaded
        definition = msgspec.msgpack.decode(loaded.definition, type=SupervisorDefinition)
        assert definition.name == "shop"
        assert loaded.threads == []


def test_the_directory_is_searched_even_in_safe_path_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONSAFEPATH does not hide the app."""
    monkeypatch.chdir(APPS)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    with RealTemplate() as template:
        assert isinstance(template.load(APP), messages.Loaded)


@pytest.mark.parametrize(
    ("source", "app", "problem", "where", "help_text"),
    [
        ("", "absent:tree", "no module 'absent'", "", "looked in"),
        ("", "app:tree", "app has no 'tree'", "", "write tree = Supervisor"),
        (
            "import supervisor\nmine = supervisor.Supervisor('mine')",
            "app:tree", "app has no 'tree'", "", "app:mine",
        ),
        ("tree = 3", "app:tree", "", "", ""),
        ("x = 1\nraise KeyError('k')", "app:tree", "KeyError: 'k'", "app.py:2", ""),
        ("def f():\n    1 / 0\nf()", "app:tree", "ZeroDivisionError", "app.py:2", ""),
        ("x = (\n", "app:tree", "SyntaxError", "app.py:1", ""),
        ("import absent_too", "app:tree", "absent_too", "app.py:1", ""),
        ("import sys\nsys.exit(3)", "app:tree", "imported: status 3", "app.py:2", "in init"),
        (
            "import sys\nsys.exit('DATABASE_URL is not set')",
            "app:tree", "exited while it was imported: DATABASE_URL is not set", "app.py:2", "init",
        ),
        ("def tree():\n    raise OSError('no')", "app:tree", "OSError: no", "app.py:2", ""),
        (
            "import supervisor as s\ntree = s.Supervisor('t', [s.Child('x', print, count=-1)])",
            "app:tree", "count", "app.py:2", "",
        ),
    ],
)  # fmt: skip
def test_what_keeps_an_app_from_being_used_is_told(
    empty: RealTemplate,
    tmp_path: Path,
    source: str,
    app: str,
    problem: str,
    where: str,
    help_text: str,
) -> None:
    """The problem without a traceback, the author's line, a hint; the traceback is the detail."""
    (tmp_path / "app.py").write_text(source)
    failed = empty.load(app)
    assert isinstance(failed, messages.LoadFailed)
    assert problem in failed.problem
    assert "Traceback" not in failed.problem
    assert failed.where.endswith(where)
    assert help_text in failed.help
    assert failed.exit_code == 78


@pytest.mark.parametrize(("leaves", "code"), [("0", 0), ("", 0), ("2", 2), ("'2'", 78), ("1", 78)])
def test_the_exit_codes_of_argparse_are_passed_on(
    empty: RealTemplate, tmp_path: Path, leaves: str, code: int
) -> None:
    """--help and a mistake in the arguments; any other code would say what is not so: 78."""
    (tmp_path / "app.py").write_text(f"import sys\nsys.exit({leaves})")
    failed = empty.load("app:tree")
    assert isinstance(failed, messages.LoadFailed)
    assert "exited while it was imported" in failed.problem
    assert failed.exit_code == code


def test_a_signal_handler_of_the_apps_does_not_blind_the_template(
    empty: RealTemplate, tmp_path: Path
) -> None:
    """An app that ignores SIGCHLD, or unblocks all, when imported: ends are told all the same."""
    (tmp_path / "app.py").write_text(
        "import signal, subprocess, supervisor\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "signal.set_wakeup_fd(-1)\n"
        "signal.pthread_sigmask(signal.SIG_SETMASK, [])\n"
        "def f(): pass\n"
        "tree = supervisor.Supervisor('t', [supervisor.Child('x', f)])\n"
    )
    assert isinstance(empty.load("app:tree"), messages.Loaded)
    os.kill(empty.pid, signal.SIGTERM)
    process = empty.spawn(Node("t/x"), app="app:tree")
    assert ended(empty, process) == 0


def test_what_an_app_starts_when_imported_hears_of_its_own_children(
    empty: RealTemplate, tmp_path: Path
) -> None:
    """The template holds SIGCHLD for itself; a program that the app starts has not inherited it."""
    (tmp_path / "app.py").write_text(
        "import subprocess, supervisor\n"
        "status = subprocess.check_output(['cat', '/proc/self/status'], text=True)\n"
        f"open({str(tmp_path / 'status')!r}, 'w').write(status)\n"
        "def f(): pass\n"
        "tree = supervisor.Supervisor('t', [supervisor.Child('x', f)])\n"
    )
    assert isinstance(empty.load("app:tree"), messages.Loaded)
    lines = (tmp_path / "status").read_text().splitlines()
    blocked = next(line for line in lines if line.startswith("SigBlk:"))
    assert not int(blocked.split()[1], 16) >> (signal.SIGCHLD - 1) & 1
    assert ended(empty, empty.spawn(Node("t/x"), app="app:tree")) == 0


def test_exit_hooks_of_the_app_run_in_no_worker(empty: RealTemplate, tmp_path: Path) -> None:
    """What the app registered when it was imported is the template's: a worker does not run it."""
    (tmp_path / "app.py").write_text(
        "import atexit, os, supervisor\n"
        "atexit.register(os.write, 1, b'hook of the template\\n')\n"
        "def f(): atexit.register(os.write, 1, b'own hook\\n')\n"
        "tree = supervisor.Supervisor('t', [supervisor.Child('x', f)])\n"
    )
    assert isinstance(empty.load("app:tree"), messages.Loaded)
    process = empty.spawn(Node("t/x"), app="app:tree")
    assert process.line() == "own hook"
    assert ended(empty, process) == 0
    assert process.said + os.read(process.stdout, 100) == b""


# --- threads ----------------------------------------------------------------------------------

THREADED = """
import threading, supervisor
from concurrent.futures import ThreadPoolExecutor
from supervisor.process import bootstrap

def f(): bootstrap.os.write(1, b"fresh\\n")

{start}
tree = supervisor.Supervisor("t", [supervisor.Child("x", f)])
"""


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("threading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()",
         "thread 'mine' started by"),
        ("pool = ThreadPoolExecutor(1, 'pool'); pool.submit(int)", "thread 'pool_0' started by"),
    ],
)  # fmt: skip
def test_a_template_with_threads_does_not_fork_and_names_them(
    empty: RealTemplate, tmp_path: Path, statement: str, named: str
) -> None:
    """Thread and line are named at once and at each refusal, which is not transient."""
    (tmp_path / "app.py").write_text(THREADED.format(start=statement))
    loaded = empty.load("app:tree")
    assert isinstance(loaded, messages.Loaded)
    (thread,) = loaded.threads
    assert thread.startswith(named)
    assert thread.endswith("app.py:8")
    refused = empty.ask_for(Node("t/x"), app="app:tree")
    failed = empty.reply(messages.SpawnFailed, serial=refused.serial)
    assert thread in failed.problem
    assert not failed.transient


def test_such_an_app_is_imported_afresh_in_the_runtime_template(
    empty: RealTemplate, tmp_path: Path
) -> None:
    """A template that has no app imports it in the child: threads then belong to the worker."""
    statement = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
    (tmp_path / "app.py").write_text(THREADED.format(start=statement))
    process = empty.spawn(Node("t/x"), app="app:tree")
    assert process.line() == "fresh"
    assert ended(empty, process) == 0
    again = empty.spawn(Node("t/x"), app="app:tree")
    assert again.line() == "fresh"


def test_a_fresh_import_that_fails_is_told(empty: RealTemplate, tmp_path: Path) -> None:
    """Code that was broken on disk meanwhile is a failed start with its problem."""
    (tmp_path / "app.py").write_text("raise OSError('gone bad')")
    process = empty.spawn(Node("t/x"), app="app:tree")
    assert "gone bad" in process.message(links.Failed).message
    assert ended(empty, process) == 1


# --- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("child", "words"), [("worker", "word"), ("instance", "made"), ("int-worker", "")]
)
def test_an_object_with_supervised_runs_itself(
    template: RealTemplate, child: str, words: str
) -> None:
    """A class is made with its arguments; the link is its own; the stop signal ends its wait."""
    process = start(template, child)
    process.message(links.Ready)
    assert process.line() == f"supervised {words} test/process.0"
    eventually(lambda: is_asleep(process.pid), "it waits")  # alone, a signal has no second chance
    signum = signal.SIGINT if child == "int-worker" else signal.SIGTERM
    template.client.signal(process.serial, signum)
    assert process.line() == "stopped True True"
    process.message(links.Finished)
    assert ended(template, process) == 0


def test_a_request_on_the_link_stops_as_the_signal_does(template: RealTemplate) -> None:
    """StopRequest alone ends the wait of a worker."""
    process = start(template, "worker")
    process.line()
    process.channel.send(links.StopRequest(5.0))
    assert process.line().startswith("stopped True")
    assert ended(template, process) == 0


def test_a_worker_stops_when_its_supervisor_is_gone(template: RealTemplate) -> None:
    """The end of its link is a request to stop as well."""
    process = start(template, "worker")
    process.line()
    process.channel.close()
    assert process.line().startswith("stopped True")
    assert ended(template, process) == 0


@pytest.mark.parametrize("child", ["plain", "int-plain"])
def test_a_plain_callable_is_unwound_by_the_stop_signal(template: RealTemplate, child: str) -> None:
    """It is ready when called; the signal raises SystemExit(0), so ``finally`` runs."""
    process = start(template, child)
    process.message(links.Ready)
    assert process.line() == ("plain 1 two True" if child == "plain" else "plain True")
    template.client.signal(process.serial, signal.SIGTERM if child == "plain" else signal.SIGINT)
    assert process.line() == "unwound"
    process.message(links.Finished)
    assert ended(template, process) == 0


def test_a_coroutine_is_cancelled_by_the_stop_signal(template: RealTemplate) -> None:
    """SIGTERM cancels the main task, and that is an orderly end."""
    process = start(template, "coroutine")
    process.message(links.Ready)
    assert process.line() == "coroutine 3"
    template.client.signal(process.serial, signal.SIGTERM)
    assert process.line() == "cancelled"
    process.message(links.Finished)
    assert ended(template, process) == 0


def test_a_cancelled_coroutine_may_finish(template: RealTemplate) -> None:
    """What it awaits in ``finally`` is awaited."""
    process = start(template, "slow-to-cancel")
    process.line()
    template.client.signal(process.serial, signal.SIGTERM)
    assert process.line() == "finished"
    assert ended(template, process) == 0


def test_a_cancellation_nobody_asked_for_is_a_crash(template: RealTemplate) -> None:
    """CancelledError without a stop signal is an exception as any other."""
    process = start(template, "cancels-itself")
    assert process.message(links.Failed).exception == "CancelledError"
    assert ended(template, process) == 1


def test_a_callable_that_notifies_is_not_ready_before_it_does(template: RealTemplate) -> None:
    """ready="notify": only `supervisor.link.ready()` makes it ready; its stdin is empty."""
    process = start(template, "notifies", ready="notify")
    assert process.line() == "not ready yet"
    process.message(links.Ready)
    assert process.heard == []


def test_beats_are_sent_at_most_four_times_a_heartbeat(template: RealTemplate) -> None:
    """A work loop may beat a thousand times; one beat of them is sent within 250 s."""
    process = start(template, "beats", heartbeat=1000.0)
    assert process.line() == "beaten"
    template.client.signal(process.serial, signal.SIGKILL)
    template.exited(process)
    process.link_closed()
    assert [m for m in process.heard if isinstance(m, links.Beat)] == [links.Beat(0)]


def test_an_exception_of_a_target_is_told_and_logged(template: RealTemplate) -> None:
    """Failed on the link, the traceback on stderr, exit code 1."""
    process = start(template, "raises")
    failed = process.message(links.Failed)
    assert (failed.exception, failed.message) == ("ValueError", "out of range")
    assert process.line() == "raising"
    assert ended(template, process) == 1
    assert process.line().startswith("Traceback") or b"Traceback" in process.said


@pytest.mark.parametrize("child", ["by-name", "inner/deep"])
def test_targets_are_found_by_name_and_by_path(template: RealTemplate, child: str) -> None:
    """ "module:function" is imported in the worker; nested children are found by their path."""
    process = start(template, child)
    assert process.pids() == [process.pid]
    assert ended(template, process) == 0
