"""Worker processes and the kernel: forks that fail, numbers used again."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.channel import Channel, pair
from supervisor.control.messages import RestartChildren, StopChildren
from supervisor.loop import Loop
from supervisor.process import launch, messages
from supervisor.process.connection import Connection, Process
from supervisor.process.launcher import TemplateClient, start_template
from supervisor.process.reaper import Reaper
from supervisor.process.template import Template
from tests.crash.app_harness import App, alive, eventually
from tests.crash.running_app import restarted, strace, supervisor_at

# --- a template by itself ---------------------------------------------------------------------


class Asker:
    """A supervisor that does nothing but ask a real template for programs."""

    def __init__(self) -> None:
        self.pid, self.client = start_template()
        self.replies: list[messages.Reply] = []
        self._links: list[socket.socket] = []

    def spawn(self, serial: int, *argv: str) -> int:
        """Have a program started; returns its pid."""
        ours, theirs = pair()
        self._links.append(ours)
        null = os.open(os.devnull, os.O_RDWR)
        memory = os.memfd_create("stacks")
        kind = launch.Kind(launch.Command(list(argv)))
        packed = launch.encode(launch.Launch(f"t/{serial}", 1, kind))
        self.client.spawn(serial, packed, [theirs.fileno(), memory, null, null])
        for fd in (theirs.detach(), null, memory):
            os.close(fd)
        reply = self.wait(messages.Spawned, serial)
        assert isinstance(reply, messages.Spawned)
        return reply.pid

    def wait(self, kind: type, serial: int) -> messages.Reply:
        """Wait for a reply about a process."""

        def look() -> list[messages.Reply]:
            select.select([self.client], [], [], 0)
            self.replies += [reply for reply, _ in self.client.receive()]
            return [r for r in self.replies if isinstance(r, kind) and r.serial == serial]

        return eventually(look, f"{kind.__name__} {serial}")[0]

    def close(self) -> None:
        """End the template, and all that it has started."""
        self.client.close()
        for end in self._links:
            end.close()
        os.waitpid(self.pid, 0)


@pytest.fixture
def asker() -> Iterator[Asker]:
    """A supervisor with a template of its own."""
    asker = Asker()
    yield asker
    asker.close()


def test_a_signal_to_a_process_that_is_gone_hits_nobody(asker: Asker) -> None:
    """Processes are named by serial: a late signal cannot meet a number that was used again."""
    asker.spawn(1, "true")
    asker.wait(messages.Exited, 1)
    second = asker.spawn(2, "sleep", "1000")
    asker.client.signal(1, signal.SIGKILL, group=True)
    asker.client.signal(3, signal.SIGKILL)
    third = asker.spawn(4, "sleep", "1000")  # answered after the signals were dealt with
    assert alive(second)
    assert alive(third)
    assert not [r for r in asker.replies if isinstance(r, messages.Exited) and r.serial != 1]


def test_all_that_was_asked_for_dies_with_the_connection() -> None:
    """A supervisor that is gone takes its processes with it, those that ignore signals too."""
    asker = Asker()
    try:
        pids = [asker.spawn(n, "sh", "-c", "trap '' TERM; sleep 1000 & wait") for n in range(5)]
    finally:
        asker.close()
    assert not any(alive(pid) for pid in pids)


def test_nonsense_from_a_supervisor_ends_its_processes_only(asker: Asker) -> None:
    """A malformed request closes the connection it came on; the other one is served on."""
    asker.client.open(7)
    received: list[int] = []

    def opened() -> list[int]:
        for reply, fds in asker.client.receive():
            asker.replies.append(reply)
            received.extend(fds)
        return received

    other = socket.socket(fileno=eventually(opened)[0])
    client = TemplateClient(other)
    other.setblocking(True)
    other.send(b"\xc1 nonsense")
    assert other.recv(1) == b""
    client.close()
    assert alive(asker.spawn(1, "sleep", "1000"))


@pytest.mark.parametrize("namespace", [("--pid",), ("--user", "--map-root-user", "--pid")])
def test_a_number_that_is_used_again_is_not_mistaken(namespace: tuple[str, ...]) -> None:
    """In a pid namespace strangers get the numbers of dead workers and templates: none is hit."""
    command = ["unshare", *namespace, "--fork", "--mount-proc"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip(f"needs unshare {' '.join(namespace)}")
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.crash.pid_reuse"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.endswith(b"nobody was hit\n"), done.stderr.decode()
    assert done.returncode == 0


def test_a_pid_that_is_not_ours_any_more_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a namespace: a reaper signals no number of a process it has reaped."""
    hit: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *args: hit.append(args))
    monkeypatch.setattr(os, "killpg", lambda *args: hit.append(args))
    loop = Loop()
    template = object.__new__(Template)
    template.reaper = Reaper(loop, lambda *_: None, lambda *_: None)
    ours, theirs = pair()
    connection = Connection(Channel(ours, messages.Request), None, 0)
    connection.processes[7] = Process(7, 4242, 1, connection)
    template._serve(connection, messages.Signal(7, signal.SIGTERM), [])
    assert hit == [(4242, signal.SIGTERM)]
    template._ended(connection.processes[7], messages.Exited(7, 0))
    template._serve(connection, messages.Signal(7, signal.SIGKILL, True), [])
    assert hit == [(4242, signal.SIGTERM)]
    theirs.close()
    connection.close()
    loop.close()


# --- a whole app ------------------------------------------------------------------------------


def test_a_worker_killed_at_any_moment_is_replaced_and_nobody_disturbed(tmp_path: Path) -> None:
    """SIGKILL 0 to 10 ms after each birth: every death reported once, the slot always refilled."""
    with App("kernel:steady", tmp_path) as app:
        bystander = app.up().ready("steady/bystander.0").pid
        pause = threading.Event()
        killed: set[int] = set()
        for n in range(40):
            worker = app.wait_worker("steady/victim.0", lambda w: w.pid and w.pid not in killed)
            assert worker.pid is not None
            pause.wait(n * 0.00025)
            os.kill(worker.pid, signal.SIGKILL)
            killed.add(worker.pid)
        last = app.wait_worker("steady/victim.0", lambda w: w.state == "ready" and w.restarts == 40)
        assert last.pid not in killed
        app.wait_until(lambda: len(app.find(offender="victim.0")) >= 40)
        told = app.find(offender="victim.0")
        assert [r["cause"] for r in told] == ["signal:SIGKILL"] * 40
        assert app.ready("steady/bystander.0").pid == bystander
        assert app.stop() == 0


@contextlib.contextmanager
def forks_fail(pid: int, error: str, log: Path) -> Iterator[None]:
    """Make every fork of a process fail."""
    calls = "clone,clone3,fork,vfork"
    command = ["strace", "-qq", f"-etrace={calls}", f"-einject={calls}:error={error}", "-o", log]
    tracer = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE)
    try:
        eventually(lambda: tracer.poll() is not None or traced(pid), "traced")
        assert tracer.poll() is None, tracer.communicate()
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


@pytest.mark.parametrize(
    ("error", "words"),
    [("EAGAIN", "Resource temporarily unavailable"), ("ENOMEM", "Cannot allocate memory")],
)
def test_a_fork_that_fails_is_tried_again_later(tmp_path: Path, error: str, words: str) -> None:
    """The start waits, longer each time, and is no failure: the intensity here allows but one."""
    strace("close:delay_enter=0")
    with App("kernel:strict", tmp_path, "--spares", "0") as app:
        app.up()
        bystander = app.ready("strict/bystander.0").pid
        program = app.ready("strict/program.0")
        victim = app.ready("strict/victim.0").pid
        assert victim is not None
        with forks_fail(parent(bystander), error, tmp_path / "t"):
            os.kill(victim, signal.SIGKILL)
            app.wait_until(lambda: len(app.find(event="start postponed")) >= 4)
            # Meanwhile others live, and what another process forks is restarted at once.
            app.ask(RestartChildren("strict/program"))
            assert app.ready("strict/program.0").pid != program.pid
        worker = app.ready("strict/victim.0")
        assert worker.restarts == 1
        postponed = app.find(event="start postponed")
        assert {r["problem"] for r in postponed} == {f"fork: {words}"}
        assert {r["child"] for r in postponed} == {"strict/victim.0"}
        assert postponed[0]["seconds"] <= 0.25 < 1.0 <= postponed[3]["seconds"] <= 2.0
        assert not app.find(event="child failed to start")
        assert app.ready("strict/bystander.0").pid == bystander
        assert app.stop() == 0


def test_a_fork_that_fails_for_too_long_is_a_failed_start(tmp_path: Path) -> None:
    """`start_timeout` ends the waiting, each time it has passed; a stop ends it at once."""
    strace("close:delay_enter=0")
    with App("kernel:tree", tmp_path, "--spares", "0") as app:
        app.up()
        bystander = app.ready("kernel/bystander.0").pid
        victim = app.ready("kernel/victim.0").pid
        assert victim is not None
        with forks_fail(parent(bystander), "EAGAIN", tmp_path / "t"):
            os.kill(victim, signal.SIGKILL)
            failed = app.wait_for(event="child failed to start", offender="victim.0")
            assert failed["cause"] == "spawn: fork: Resource temporarily unavailable"
            app.wait_worker("kernel/victim.0", lambda w: w.generation >= 3)
            app.ask(StopChildren("kernel/victim"))
        assert app.worker("kernel/victim.0").pid is None
        assert app.ready("kernel/bystander.0").pid == bystander
        assert app.stop() == 0


def test_a_nested_supervisor_waits_for_a_fork_too(tmp_path: Path) -> None:
    """Its connections are made anew for each try; it comes back whole, once, and leaks nothing."""
    strace("close:delay_enter=0")
    with App("kernel:nested", tmp_path, "--spares", "0") as app:
        app.up()
        app.ready("nested/inner/x.0")
        root = app.process.pid
        runtime = parent(supervisor_at(app, "nested/inner").pid)
        before = len(os.listdir(f"/proc/{root}/fd"))
        with forks_fail(runtime, "EAGAIN", tmp_path / "t"):
            inner = supervisor_at(app, "nested/inner").pid
            assert inner is not None
            os.kill(inner, signal.SIGKILL)
            app.wait_until(lambda: len(app.find(event="start postponed")) >= 3)
        restarted(app, "nested/inner", 2)
        assert {r["child"] for r in app.find(event="start postponed")} == {"nested/inner"}
        assert not app.find(event="child failed to start")
        eventually(lambda: len(os.listdir(f"/proc/{root}/fd")) <= before, "no descriptor leaked")
        assert app.stop() == 0


def parent(pid: int | None) -> int:
    """Return the pid of a process's parent."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def traced(pid: int) -> bool:
    """Whether a process has a tracer."""
    with open(f"/proc/{pid}/status") as status:
        return any(line.startswith("TracerPid") and line.split()[1] != "0" for line in status)
