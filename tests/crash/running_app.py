"""Finds and waits for the processes of a running app, wherever they have escaped to.

They are known by the runtime directory in their environment, which every descendant inherits.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.observe.snapshot import ChildStatus, SupervisorStatus
from tests.crash.app_harness import PATIENCE, App, eventually, workers

TREES = Path(__file__).parent / "trees"
#: Runs the runtime with shorter limits.
IMPATIENT = (sys.executable, str(TREES / "impatient.py"))


def run_tree(tree: str, directory: Path, *options: str, **popen: Any) -> App:
    """Run a tree of ``tests/crash/trees``; its marks go to ``directory``/marks."""
    marks = directory / "marks"
    marks.mkdir(exist_ok=True)
    env = {"MARKS": str(marks), **popen.pop("env", {})}
    return App(tree, directory, *options, cwd=TREES, env=env, **popen)


def family(app: App | Path) -> dict[int, str]:
    """Return the processes of an app that live: pid to command line. Root is one of them.

    The app, or its runtime directory, is given.
    """
    runtime = app.runtime if isinstance(app, App) else app
    sign = f"SUPERVISOR_RUNTIME_DIR={runtime}".encode()
    found = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if sign in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
    return found


def gone(app: App, patience: float) -> None:
    """Wait until no process of an app lives; fails, and kills what is left, after ``patience``."""
    try:
        eventually(lambda: not family(app), f"{app.runtime} still has processes", patience)
    finally:
        for pid in family(app):
            os.kill(pid, signal.SIGKILL)


def templates(app: App) -> list[int]:
    """Return the pids of the templates that live, the older first: at the start, the runtime's."""
    pid = app.process.pid
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    commands = family(app)
    return [child for child in children if "supervisor.process" in commands.get(child, "")]


def service(app: App, name: str) -> int:
    """Return the pid of the pump, the broker or the observer."""
    pids = [s.pid for s in app.snapshot().services if s.path.rpartition("/")[2] == name]
    assert len(pids) == 1
    assert pids[0] is not None
    return pids[0]


def supervisor_at(app: App, path: str) -> SupervisorStatus:
    """Return the state of a supervisor."""
    waiting: list[SupervisorStatus | ChildStatus] = [app.snapshot().tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, SupervisorStatus):
            if node.path == path:
                return node
            waiting.extend(node.children)
    raise LookupError(path)


def restarted(app: App, path: str, generation: int) -> SupervisorStatus:
    """Wait until a nested supervisor is ready in at least its n-th life."""

    def look() -> SupervisorStatus | None:
        node = supervisor_at(app, path)
        up = node.state == "ready" and node.generation >= generation
        below = workers(node)
        return node if up and below and all(w.state == "ready" for w in below) else None

    found = eventually(look, f"{path} in life {generation}")
    assert found is not None
    return found


def kill(pid: int | None) -> None:
    """End a process with SIGKILL; there has to be one: 0 would be our own group."""
    assert pid
    os.kill(pid, signal.SIGKILL)


def await_death(pid: int, patience: float = PATIENCE) -> bool:
    """Wait until a process, not necessarily a child of ours, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    finally:
        os.close(fd)


def copies(app: App) -> list[str]:
    """Return the slots of which two processes lived at a time (see trees/marks.py)."""
    path = app.runtime.parent / "marks" / "copies"
    return path.read_text().splitlines() if path.exists() else []


def strace(inject: str) -> tuple[str, ...]:
    """Return a wrapper that makes system calls fail; skips where nothing can be traced.

    Args:
        inject: "call,call:error=NAME" and the like, for all processes of the app.

    """
    command = ("strace", "-f", "-qq", "-o", "/dev/null")
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a working strace")
    return (*command, "-e", f"trace={inject.partition(':')[0]}", "-e", f"inject={inject}")
