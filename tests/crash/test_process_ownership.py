"""Ownership: what belongs to a connection is gone when the connection is, however it hides."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from supervisor.definition import Settings
from supervisor.process import messages
from supervisor.process.family import children, sweep_orphans, tag_of, template_of
from supervisor.process.launch import Command
from tests.crash.process_harness import APPS, RealTemplate, wait_gone

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root may change the user of a child")


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealTemplate]:
    """A template that finds the entries of these tests."""
    monkeypatch.chdir(APPS)
    with RealTemplate() as template:
        yield template


def exists(pid: int) -> bool:
    """Whether there is such a process, a zombie included."""
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def test_what_a_process_leaves_behind_is_gone_when_its_end_is_told(template: RealTemplate) -> None:
    """Group, session, daemon, bare daemon: Exited comes after the last of them, and counts them."""
    process = template.spawn("process_entries:escape", b"die")
    pids = process.pids()
    assert len(pids) == 4
    exited = template.exited(process)
    assert not [pid for pid in pids if exists(pid)]
    assert exited.status == 0
    assert exited.escaped >= 3


def test_what_a_killed_process_leaves_behind_is_gone_too(template: RealTemplate) -> None:
    """The same after SIGKILL of the process alone, not of its group."""
    process = template.spawn("process_entries:escape")
    pids = process.pids()
    template.client.signal(process.serial, signal.SIGKILL)
    assert template.exited(process).status == signal.SIGKILL
    assert not [pid for pid in pids if exists(pid)]


def test_a_daemon_that_keeps_forking_is_caught(template: RealTemplate) -> None:
    """A descendant that is always already another process does not get away."""
    process = template.spawn("process_entries:breed")
    template.exited(process)
    assert not os.path.exists(f"/proc/{process.pid}")


def test_a_helper_holding_stdout_does_not_delay_the_end(template: RealTemplate) -> None:
    """The end is known from the process, not from the end of file on its pipe."""
    process = template.spawn("process_entries:hold_stdout")
    (helper,) = process.pids()
    assert template.exited(process).escaped == 1
    assert not exists(helper)
    assert os.read(process.stdout, 1) == b""


def test_each_process_has_a_tag_of_its_own_and_the_template_none_of_them(
    template: RealTemplate,
) -> None:
    """Who hunts what a dead process has left behind would find the template among it."""
    processes = [template.spawn("process_entries:escape") for _ in range(2)]
    for process in processes:
        process.pids()  # it runs
    tags = [tag_of(process.pid) for process in processes]
    own = tag_of(template.pid)
    assert len({own, *tags}) == 3
    assert {template_of(tag or 0) for tag in (own, *tags)} == {template.pid}


def test_processes_of_others_are_left_alone(template: RealTemplate) -> None:
    """The end of one process touches no other, even of orphans that have the same parent."""
    living = template.spawn("process_entries:escape")
    pids = living.pids()
    other = template.spawn("process_entries:escape", b"die")
    other.line()
    template.exited(other)
    assert all(map(exists, pids))
    template.client.signal(living.serial, signal.SIGKILL)
    template.exited(living)
    assert not [pid for pid in pids if exists(pid)]


def test_a_closed_connection_takes_its_processes_and_the_template_with_it(
    template: RealTemplate,
) -> None:
    """When root is gone nothing is left: not the processes, not what escaped, not the template."""
    process = template.spawn("process_entries:escape")
    pids = process.pids()
    template.close()
    template.reap()
    assert not [pid for pid in [process.pid, *pids] if exists(pid)]


def test_an_opened_connection_takes_its_processes_with_it(template: RealTemplate) -> None:
    """Closed is told to the opener once everything asked for over it is gone; others live."""
    mine = template.spawn("process_entries:wait")
    mine.line()
    with template.open() as nested:
        process = nested.spawn("process_entries:escape")
        pids = process.pids()
    template.reply(messages.Closed)
    assert not [pid for pid in [process.pid, *pids] if exists(pid)]
    assert exists(mine.pid)


def test_connections_opened_over_a_closed_one_are_closed(template: RealTemplate) -> None:
    """Three supervisors deep: the end of the first takes the processes of the last."""
    with template.open() as outer, outer.open() as inner:
        process = inner.spawn("process_entries:escape")
        pids = process.pids()
        outer.close()
        template.reply(messages.Closed)
        assert not [pid for pid in [process.pid, *pids] if exists(pid)]
        inner.gone()


def test_a_connection_without_processes_is_told_closed_at_once(template: RealTemplate) -> None:
    """An opened connection that was never used is answered for as well."""
    with template.open():
        pass
    template.reply(messages.Closed)


def test_a_killed_client_takes_everything_with_it(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of the process that holds the first connection: template, workers, escaped ones."""
    monkeypatch.chdir(APPS)
    program = (
        "import os, signal\n"
        "from tests.crash.process_harness import RealTemplate\n"
        "template = RealTemplate()\n"
        "process = template.spawn('process_entries:escape')\n"
        "print(template.pid, process.pid, *process.pids(), flush=True)\n"
        "signal.pause()\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    client = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert client.stdout is not None
    pids = [int(word) for word in client.stdout.readline().split()]
    assert len(pids) == 6
    client.kill()
    client.wait()
    client.stdout.close()
    for pid in pids:
        wait_gone(pid, 5.0)


def test_root_killed_during_an_import_leaves_no_template(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template in an import that hangs cannot see its connection end: it dies with its root."""
    monkeypatch.chdir(tmp_path)
    with open(os.path.join(tmp_path, "hangs.py"), "w") as app:
        app.write("import os, signal\nos.write(1, b'importing\\n')\nsignal.pause()\n")
    program = (
        "import signal\n"
        "from supervisor.process.launcher import start_template\n"
        "pid, client = start_template()\n"
        "client.load('hangs:tree', [])\n"
        "print(pid, flush=True)\n"
        "signal.pause()\n"
    )
    client = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert client.stdout is not None
    lines = sorted([client.stdout.readline(), client.stdout.readline()])
    assert lines[1] == b"importing\n"
    client.kill()
    client.wait()
    client.stdout.close()
    wait_gone(int(lines[0]), 5.0)


def test_a_stopped_template_ends_with_its_root(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP of a template, then the death of root: it wakes, sweeps and ends."""
    program = (
        "import os, signal\n"
        "from tests.crash.process_harness import RealTemplate\n"
        "template = RealTemplate()\n"
        "process = template.spawn('process_entries:wait')\n"
        "process.line()\n"
        "os.kill(template.pid, signal.SIGSTOP)\n"
        "os.waitid(os.P_PID, template.pid, os.WSTOPPED)\n"
        "print(template.pid, process.pid, flush=True)\n"
        "signal.pause()\n"
    )
    monkeypatch.chdir(APPS)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    client = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert client.stdout is not None
    pids = [int(word) for word in client.stdout.readline().split()]
    client.kill()
    client.wait()
    client.stdout.close()
    for pid in pids:
        wait_gone(pid, 5.0)


@pytest.mark.parametrize("user", [None, pytest.param("nobody", marks=ROOT_ONLY)])
def test_a_killed_template_takes_its_processes_with_it(
    template: RealTemplate, user: str | None
) -> None:
    """Workers die with their template, those that changed their user as well."""
    settings = Settings(user=user)
    workers = [template.spawn("process_entries:wait", settings=settings) for _ in range(3)]
    program = template.spawn(Command(["sh", "-c", "echo up; exec sleep 1000"]), settings=settings)
    spare, stdout = template.spare()
    os.close(stdout)
    for process in [*workers, program]:
        process.line()
    template.kill()
    for process in [*workers, program, spare]:
        wait_gone(process.pid)
    template.gone()
    sweep_orphans(set())


def test_what_escaped_from_a_killed_template_is_swept_by_root(template: RealTemplate) -> None:
    """Orphans go to the next subreaper, and `sweep_orphans` kills all that is not known to it."""
    bystander = subprocess.Popen(["sleep", "1000"])
    process = template.spawn("process_entries:escape")
    pids = process.pids()
    template.kill()
    wait_gone(process.pid)
    known = {bystander.pid}
    while children() - known:
        sweep_orphans(known)
        os.sched_yield()
    assert not [pid for pid in pids if exists(pid)]
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_the_template_ends_though_its_root_has_left_helpers_behind(
    template: RealTemplate, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that the app started while it was imported goes with the template."""
    with open(os.path.join(tmp_path, "with_helper.py"), "w") as app:
        app.write(
            "import subprocess, supervisor\n"
            "helper = subprocess.Popen(['sh', '-c', 'setsid sleep 1000 & wait'])\n"
            "tree = supervisor.Supervisor('helped')\n"
        )
    monkeypatch.chdir(tmp_path)
    with RealTemplate() as loaded:
        assert isinstance(loaded.load("with_helper:tree"), messages.Loaded)
        listing = f"/proc/{loaded.pid}/task/{loaded.pid}/children"
        with open(listing) as helpers:
            (shell,) = map(int, helpers.read().split())
        inner: list[int] = []
        while not inner:
            with open(f"/proc/{shell}/task/{shell}/children") as helpers:
                inner = [int(pid) for pid in helpers.read().split()]
        loaded.close()
        loaded.reap()
        assert not [pid for pid in [shell, *inner] if exists(pid)]


def test_an_unprivileged_template_survives_a_child_it_may_not_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """EPERM from kill is an answer: the template and its other processes go on."""
    from supervisor.process import reaper
    from supervisor.process.family import kill

    def forbidden(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    monkeypatch.setattr(os, "killpg", forbidden)
    kill(1)
    reaper.Reaper.signal(object.__new__(reaper.Reaper), 1, signal.SIGTERM, group=True)


def test_a_template_without_a_root_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first connection closed before it was up: it starts, sees the end, and leaves."""
    monkeypatch.chdir(APPS)
    with RealTemplate() as template:
        template.client._channel.socket.shutdown(socket.SHUT_RDWR)
        template.reap()
