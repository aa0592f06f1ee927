"""A worker that forks without end: bounded as declared, killed with all it has made, alone.

Each app runs in a pids cgroup of its own, so that the machine is never at stake.
"""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from supervisor.control.messages import RestartChildren
from supervisor.janitor.journal import JOURNAL, Entry
from tests.crash.app_harness import App, eventually
from tests.crash.running_app import service

PIDS = Path("/sys/fs/cgroup/pids")
#: Processes and threads that an app may have.
MOST = 120
#: And that a bomb may have: as the app declares.
NPROC, UID = 40, 64_321


@pytest.fixture
def group() -> Iterator[Path]:
    """Make a cgroup that cannot grow; nothing is left in it."""
    if not os.access(PIDS / "cgroup.procs", os.W_OK):
        pytest.skip("needs a writable pids cgroup (v1)")
    group = PIDS / f"letitcrash-test-{os.getpid()}"
    group.mkdir()
    (group / "pids.max").write_text(str(MOST))
    try:
        yield group
        # Not pids.current: what was killed in the middle of a fork may stay counted.
        eventually(lambda: not (group / "cgroup.procs").read_text(), "an empty cgroup", 5.0)
    finally:
        while left := (group / "cgroup.procs").read_text().split():
            for signum in (signal.SIGSTOP, signal.SIGKILL):
                for pid in left:
                    try:
                        os.kill(int(pid), signum)
                    except ProcessLookupError:
                        pass
        group.rmdir()


def run(tree: str, directory: Path, group: Path) -> App:
    """Run an app in a cgroup."""
    enter = partial(move, str(group / "cgroup.procs"))
    return App(tree, directory, preexec_fn=enter)


def move(group: str) -> None:
    """Enter a cgroup; runs between fork and exec."""
    with open(group, "w") as procs:
        procs.write(str(os.getpid()))


def count(group: Path) -> int:
    """Count what is in a cgroup."""
    return int((group / "pids.current").read_text())


def processes_of(uid: int) -> int:
    """Count the processes of a user as the kernel does: by their real user, zombies included."""
    found = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = Path(f"/proc/{name}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += f"\nUid:\t{uid}\t" in status
    return found


def light(app: App, signum: signal.Signals) -> int:
    """Have the bomb go off; return its pid."""
    app.said("forking/bomb.0")
    pid = app.ready("forking/bomb.0").pid
    assert pid is not None
    os.kill(pid, signum)
    return pid


def restarted(app: App, path: str, pid: int | None) -> None:
    """Wait until a slot is filled by another process."""
    app.wait_worker(path, lambda w: w.pid not in (None, pid) and w.state == "ready")


def test_a_bomb_stays_below_its_declared_limit(tmp_path: Path, group: Path) -> None:
    """RLIMIT_NPROC of a user of its own: siblings are restarted as ever, root answers at once."""
    with run("forking:limited", tmp_path, group) as app:
        bystander = app.up().ready("forking/bystander.0").pid
        bomb = light(app, signal.SIGUSR2)
        app.wait_for(path="forking/bomb.0", event="refused")  # it has as many as it may have
        # A spare that gets ready for it at this moment comes on top: to become a user is no fork.
        assert NPROC // 2 < processes_of(UID) <= NPROC + 1
        began = time.monotonic()
        app.snapshot()
        assert time.monotonic() - began < 1.0
        assert bystander is not None
        os.kill(bystander, signal.SIGKILL)
        restarted(app, "forking/bystander.0", bystander)
        assert count(group) < MOST
        assert app.worker("forking/bomb.0").pid == bomb
        app.ask(RestartChildren("forking/bomb.0"))
        restarted(app, "forking/bomb.0", bomb)
        # Or a spare beside it, on a busy machine. What is left of a bomb is soon more: it forks.
        eventually(lambda: processes_of(UID) <= 2, "only the new one")
        assert app.stop() == 0


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGUSR2], ids=["stay", "escape"])
def test_a_bomb_that_takes_all_there_is_dies_with_its_worker(
    tmp_path: Path, group: Path, how: signal.Signals
) -> None:
    """No process is left for anybody: root and siblings live on, and the bomb can be ended.

    Also when each of its processes makes a session of its own, and all go on forking.
    """
    with run("forking:tree", tmp_path, group) as app:
        bystander = app.up().ready("forking/bystander.0").pid
        services = {one.path: one.pid for one in app.snapshot().services}
        bomb = light(app, how)
        eventually(lambda: count(group) >= MOST - 1, "no room")
        began = time.monotonic()
        app.snapshot()
        assert time.monotonic() - began < 1.0
        os.kill(bomb, signal.SIGKILL)
        restarted(app, "forking/bomb.0", bomb)
        eventually(lambda: count(group) < MOST // 4, "all of it is gone")
        assert app.worker("forking/bystander.0").pid == bystander
        assert {one.path: one.pid for one in app.snapshot().services} == services
        app.wait_for(event="child terminated", offender="bomb.0", cause="signal:SIGKILL")
        assert app.stop() == 0


def test_a_janitor_without_processes_tries_again_later(tmp_path: Path, group: Path) -> None:
    """A fork that fails is a run that fails, not the end of the janitor."""
    (tmp_path / "uploads").mkdir()
    with App("untidy:tree", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        janitor = service(app.up(), "janitor")

        def rows() -> Entry | None:
            return (JOURNAL.read(str(app.runtime)) or {}).get("old-rows")

        eventually(rows)
        (group / "pids.max").write_text("1")
        (group / "cgroup.procs").write_text(str(janitor))
        app.wait_for(event="recycler failed", recycler="old-rows")
        problem = "it was not begun: Resource temporarily unavailable"
        eventually(lambda: (now := rows()) is not None and now.problem == problem, problem)
        (PIDS / "cgroup.procs").write_text(str(janitor))
        eventually(lambda: (now := rows()) is not None and not now.problem, "it is run again")
        assert service(app, "janitor") == janitor
        assert app.stop() == 0
