"""What long commands show on a terminal while they go on."""

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import PATIENCE, ROOT, App, running

#: More than queue and writer hold.
LINES = 3000


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """Run an app whose queue takes 50 messages, and is paused."""
    environment = {
        "SUPERVISOR_STATE_DIR": str(tmp_path / "state"),
        "FIXED": str(tmp_path / "fixed"),
    }
    with running("tests.e2e.queue_app:tree", **environment) as one:
        one.event("up")
        assert one.command("queue", "pause", "orders").returncode == 0
        yield one
        assert one.end() == 0


class Terminal:
    """A command whose messages go to a terminal."""

    def __init__(self, app: App, *arguments: str) -> None:
        self._screen, theirs = pty.openpty()
        self.seen = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.cli.main", *arguments], cwd=ROOT,
            env=app.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)

    def until(self, pattern: str) -> None:
        """Read what is shown until this is among it."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self._screen], [], [], deadline - time.monotonic())
            assert ready, f"{pattern} is not shown: {self.seen[-500:]!r}"
            self.seen += os.read(self._screen, 1 << 16).decode(errors="replace")

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and output."""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while data := os.read(self._screen, 1 << 16):
                self.seen += data.decode(errors="replace")
        output, _ = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, output.decode()

    def close(self) -> None:
        """End it in any case."""
        self._process.kill()
        self._process.wait()
        os.close(self._screen)


@contextlib.contextmanager
def terminal(app: App, *arguments: str) -> Iterator[Terminal]:
    """Run a command on a terminal."""
    made = Terminal(app, *arguments)
    try:
        yield made
    finally:
        made.close()


def lines(where: Path, count: int) -> str:
    """Write a file of orders."""
    path = where / "orders.jsonl"
    path.write_text("".join(json.dumps({"n": number}) + "\n" for number in range(count)))
    return str(path)


def test_a_put_that_is_held_back_says_so(app: App, tmp_path: Path) -> None:
    """It waits for room, and shows that it does, until there is; then the bar is taken away."""
    with terminal(app, "queue", "put", "orders", "--file", lines(tmp_path, LINES)) as put:
        put.until(r"put orders .*bytes.* \d+ messages, waits for room")
        shown = len(put.seen)
        put.until(rf"(?s).{{{shown + 1}}}.*waits for room")  # and again, though nothing moves
        assert app.command("queue", "resume", "orders").returncode == 0
        assert put.end() == (0, f"put {LINES} messages into orders\n")
        assert put.seen.endswith("\r\x1b[K")


def test_a_put_of_a_few_lines_that_is_held_back_says_so(app: App, tmp_path: Path) -> None:
    """All of them are on their way at once: what waits is the confirmation."""
    with terminal(app, "queue", "put", "orders", "--file", lines(tmp_path, 90)) as put:
        put.until("90 messages, waits for room")
        assert app.command("queue", "resume", "orders").returncode == 0
        assert put.end() == (0, "put 90 messages into orders\n")


def test_a_drain_shows_how_far_it_is(app: App, tmp_path: Path) -> None:
    """How many are left, with a bar, until the queue is empty."""
    assert app.command("queue", "put", "orders", "--file", lines(tmp_path, 3)).returncode == 0
    with terminal(app, "queue", "drain", "orders", "--timeout", "30") as drain:
        drain.until(r"drain orders .*0/3 messages.*Ctrl-C leaves it running")
        assert app.command("queue", "resume", "orders").returncode == 0
        code, output = drain.end()
        assert (code, "orders is empty and closed" in output) == (0, True)
