"""Worker processes and the kernel: forks that fail, numbers used again, the unkillable."""

import os
import select
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.messages import RestartChildren
from supervisor.link import pair
from supervisor.process import launch, messages
from supervisor.process.launcher import TemplateClient, start_template
from tests.crash.app_harness import App, alive, eventually

FREEZER = Path("/sys/fs/cgroup/freezer")


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


def test_a_fork_that_fails_is_tried_again_with_backoff(tmp_path: Path) -> None:
    """EAGAIN for every fork of the template: the slot waits and comes back, others are as ever."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace makes forks fail, and is not installed")
    with App("kernel:tree", tmp_path) as app:
        app.up()
        bystander = app.ready("kernel/bystander.0").pid
        inject = "-einject=clone,clone3,fork,vfork:error=EAGAIN"
        tracer = subprocess.Popen(
            [strace, "-q", "-q", "-etrace=clone,clone3,fork,vfork", inject, "-o", tmp_path / "t",
             "-p", str(parent(bystander))],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            template = parent(bystander)
            eventually(lambda: tracer.poll() is not None or traced(template))
            if tracer.poll() is not None:
                pytest.skip("this user may not trace processes")
            failing = {"event": "child failed to start", "offender": "victim.0"}
            while not app.find(**failing):  # the first ones find spares, forked before
                worker = app.worker("kernel/victim.0")
                if worker.state == "ready" and worker.pid is not None:
                    os.kill(worker.pid, signal.SIGKILL)
                generation = worker.generation
                eventually(lambda g=generation: app.worker("kernel/victim.0").generation > g)
            failed = app.wait_for(**failing)
            assert failed["cause"] == "spawn: fork: Resource temporarily unavailable"
            assert len(app.find(event="child failed to start")) < 50
        finally:
            tracer.terminate()
            tracer.communicate()
        app.ready("kernel/victim.0")
        assert app.ready("kernel/bystander.0").pid == bystander
        assert app.stop() == 0


@pytest.mark.skipif(
    not os.access(FREEZER / "cgroup.procs", os.W_OK), reason="needs a writable freezer cgroup (v1)"
)
def test_a_process_that_cannot_be_killed_is_left_behind(tmp_path: Path) -> None:
    """Frozen by the kernel: named as unkillable after 5 s, the slot filled anew, in time."""
    group = FREEZER / f"letitcrash-test-{os.getpid()}"
    group.mkdir()
    try:
        with App("kernel:tree", tmp_path) as app:
            frozen = app.up().ready("kernel/victim.0").pid
            assert frozen is not None
            (group / "cgroup.procs").write_text(str(frozen))
            (group / "freezer.state").write_text("FROZEN")
            try:
                app.ask(RestartChildren("kernel/victim"))
                record = app.wait_for(event="unkillable process left behind")
                assert record["pid"] == frozen
                worker = app.wait_worker("kernel/victim.0", lambda w: w.state == "ready")
                assert worker.pid != frozen
                assert worker.last_exit is not None
                assert worker.last_exit.cause == "unkillable"
            finally:
                (group / "freezer.state").write_text("THAWED")
            eventually(lambda: not alive(frozen))
            assert app.worker("kernel/victim.0").pid == worker.pid
            assert app.stop() == 0
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def parent(pid: int | None) -> int:
    """Return the pid of a process's parent."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def traced(pid: int) -> bool:
    """Whether a process has a tracer."""
    with open(f"/proc/{pid}/status") as status:
        return any(line.startswith("TracerPid") and line.split()[1] != "0" for line in status)
