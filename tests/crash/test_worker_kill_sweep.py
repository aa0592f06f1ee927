"""SIGKILL of a consumer at every system call between taking a message and acknowledging it."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from tests.crash.app_harness import App, eventually
from tests.crash.running_app import await_death, strace


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where the app of `apps/sweeping.py` finds its pipes, and leaves what it has done."""
    for name in ("feed-swept", "feed-other"):
        os.mkfifo(tmp_path / name)
    return tmp_path


def test_a_message_is_returned_once_wherever_its_consumer_is_killed(site: Path) -> None:
    """Each message is done; again only if it was at hand, then as attempt 2; others go on."""
    strace("close:delay_enter=0")
    with (
        App("sweeping:tree", site, env={"SITE": str(site)}) as app,
        open(site / "feed-swept", "w", buffering=1) as swept,
        open(site / "feed-other", "w", buffering=1) as other,
    ):
        app.up()
        feeds = (swept, other)
        calls = calls_of_one_message(app, site, feeds)
        assert len(calls) > 4, calls
        for number, name in enumerate(calls, start=1):
            nth = calls[:number].count(name)
            one_kill(app, site, number, f"{name}:signal=SIGKILL:when={nth}", feeds)
        put(len(calls) + 1, feeds)
        eventually(lambda: attempts(site, "victim.0", len(calls) + 1), "the last one")
        assert app.ready("sweeping/victim.0").restarts == len(calls)
        app.ended("victim.0", *["signal:SIGKILL"] * len(calls))
        assert app.stop() == 0
    # Now that all is over: nobody came a third time, or again without having been at hand.
    seen = [tuple(attempts(site, "victim.0", n)) for n in range(len(calls) + 2)]
    assert set(seen) <= {(1,), (2,), (1, 2)}, list(zip(calls, seen[1:], strict=False))
    assert (1, 2) in seen or (2,) in seen, "killed with the message at hand"
    assert all(attempts(site, "bystander.0", n) == [1] for n in range(len(calls) + 2))


Feeds = tuple[TextIO, TextIO]


def put(number: int, feeds: Feeds) -> None:
    """Put a number into both queues."""
    for feed in feeds:
        feed.write(f"{number}\n")


def calls_of_one_message(app: App, site: Path, feeds: Feeds) -> list[str]:
    """Return the system calls of a consumer, from one wait for a message to the next."""
    with traced(app, site / "calls") as (pid, _):
        put(0, feeds)
        eventually(lambda: attempts(site, "victim.0", 0) and waits(pid), "message 0")
    names = (re.match(r"\w+(?=\()", line) for line in (site / "calls").read_text().splitlines())
    return [name[0] for name in names if name]


def one_kill(app: App, site: Path, number: int, inject: str, feeds: Feeds) -> None:
    """Have one message handled, and the consumer killed at one system call on the way."""
    with traced(app, site / f"calls-{number}", f"-einject={inject}") as (_, tracer):
        put(number, feeds)
        eventually(lambda: attempts(site, "bystander.0", number), "the bystander goes on", 5.0)
        eventually(lambda: tracer.poll() is not None, f"killed at {inject}")
    eventually(lambda: attempts(site, "victim.0", number), "done in the end")


@contextmanager
def traced(app: App, log: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Trace the consumer, which waits: the first call is that wait, resumed."""
    pid = app.wait_worker("sweeping/victim.0", lambda w: w.state == "ready" and w.pid).pid
    assert pid is not None
    eventually(lambda: waits(pid), "idle")
    command = ["strace", "-qq", "-o", str(log), "-etrace=all", *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: tracer.poll() is not None or (log.exists() and log.stat().st_size))
        assert not tracer.poll()
        yield pid, tracer
    finally:
        tracer.terminate()
        tracer.wait()


def waits(pid: int) -> bool:
    """Whether a process sleeps, and does not wake up for a while."""
    before = status(pid)
    if before.get("State", "?")[0] != "S":
        return False
    return not await_death(pid, patience=0.1) and status(pid) == before


def status(pid: int) -> dict[str, str]:
    """Read what the kernel says of a process; nothing if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines}


def attempts(site: Path, slot: str, number: int) -> list[int]:
    """Return the attempts at which a message was handled, in order."""
    if not (site / "done").exists():
        return []
    lines = [line.split() for line in (site / "done").read_text().splitlines()]
    return [int(a) for who, n, a in lines if (who, int(n)) == (slot, number)]
