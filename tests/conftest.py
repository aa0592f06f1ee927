"""What holds for every test: no process that it started is left behind.

The test process is a child subreaper, so that what escapes from a tree becomes its child and is
seen. A test that leaves a process fails, and the process is killed so that it fails alone.
"""

import atexit
import ctypes
import os
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

PR_SET_CHILD_SUBREAPER = 36
#: Seconds that what a test killed has to vanish.
GRACE = 5.0


#: Property tests try the same examples in each run: a failure is of the change that is tested.
#: New ones, and many: `pytest tests/property --hypothesis-profile=search --timeout=0`.
#: Neither has a deadline for one example: a busy machine is no failure.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=3000, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Adopt orphans instead of losing sight of them; keep the logs of apps out of our home."""
    if not config.getoption("hypothesis_profile"):
        settings.load_profile("same")
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="lic-")
    atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process behind; module-wide fixtures may keep theirs."""
    before = children()
    yield
    left = children() - before
    for pid in list(left):
        if ended(pid):
            left.discard(pid)
    if left:
        shown = [f"{pid}: {command(pid)}" for pid in sorted(left)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)  # ours, unreaped: the number cannot be another's
            os.waitpid(pid, 0)
        pytest.fail(f"processes left behind: {shown}")


@pytest.fixture
def fds() -> Iterator[list[int]]:
    """Close the descriptors that a test has put in here."""
    opened: list[int] = []
    yield opened
    for fd in opened:
        os.close(fd)


def children() -> set[int]:
    """Return the pids of this process's children, zombies included."""
    with open(f"/proc/self/task/{os.getpid()}/children") as listing:
        return {int(pid) for pid in listing.read().split()}


def ended(pid: int) -> bool:
    """Wait until a child has ended, and reap it; False if it goes on living."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(GRACE * 1000):
            return False
        os.waitpid(pid, 0)
        return True
    finally:
        os.close(fd)


def command(pid: int) -> str:
    """Return the command line of a process, for a message."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return cmdline.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "?"
