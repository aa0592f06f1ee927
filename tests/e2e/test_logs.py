"""What users see of logs: the files, `supervisor logs`, `supervisor log-level`."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import PATIENCE, ROOT, App, running, supervisor
from tests.log_files import documents

APP = "tests.e2e.chatty:tree"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """Run the app with its logs in a directory of the test's."""
    with running(APP, "--logs", str(tmp_path / "logs")) as app:
        app.event("up")
        yield app
        assert app.end() == 0


def lines(app: App, *arguments: str) -> list[dict[str, Any]]:
    """Ask for kept lines."""
    found = app.command("logs", "--json", *arguments)
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def until(look: Callable[[], Any]) -> Any:
    """Wait for what another process writes."""
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline
        pause.wait(0.05)
    return found


@contextlib.contextmanager
def following(app: App, *arguments: str) -> Iterator[Callable[[Callable[[str], bool]], str]]:
    """Run `supervisor logs -f`; gives a function that waits for a line."""
    command = [sys.executable, "-m", "supervisor.cli.main", "logs", "-f", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=app.environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        stdout = process.stdout.fileno()
        rest = b""

        def wait_for(wanted: Callable[[str], bool]) -> str:
            nonlocal rest
            deadline = time.monotonic() + PATIENCE
            while True:
                *whole, rest = rest.split(b"\n")
                for n, line in enumerate(whole):
                    if wanted(line.decode()):
                        rest = b"\n".join([*whole[n + 1 :], rest])
                        return line.decode()
                ready, _, _ = select.select([stdout], [], [], deadline - time.monotonic())
                assert ready
                piece = os.read(stdout, 1 << 16)
                assert piece
                rest += piece

        try:
            yield wait_for
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130


def test_everything_a_worker_says_is_kept(app: App, tmp_path: Path) -> None:
    """structlog, logging, warnings, prints, a line without an end: each with who said it."""
    child = tmp_path / "logs" / "shop" / "once"
    kept = until(lambda: [d for d in [documents(child)] if len(d) == 6])[0]
    said = {
        line["event"].split(":")[-1].strip() if "careful" not in line["event"] else "careful": line
        for line in kept
    }
    assert set(said) == {
        "structured",
        "classic",
        "careful",
        "out",
        "err \x1b[31mred\x1b[0m",
        "no newline",
    }
    assert (said["structured"]["order"], said["structured"]["shop"]) == (7, "north")
    assert (said["classic"]["level"], said["classic"]["order"]) == ("error", 8)
    assert said["careful"]["level"] == "warning"
    assert said["no newline"]["partial"] is True
    assert {line["source"]["path"] for line in kept} == {"shop/once.0"}
    assert {line["source"]["incarnation"] for line in kept} == {1}
    assert os.stat(tmp_path / "logs").st_mode & 0o777 == 0o700
    assert os.stat(child / "current.jsonl").st_mode & 0o777 == 0o600


def test_lines_of_children_are_merged_by_time_and_chosen(app: App) -> None:
    """By path, slot, level, text, time and number; a shortened path will do."""
    until(lambda: len(lines(app, "talk", "-n", "all")) > 40)
    merged = lines(app, "-n", "50")
    assert [line["time"] for line in merged] == sorted(line["time"] for line in merged)
    assert len({line["source"]["path"] for line in merged}) >= 3
    assert {line["source"]["path"] for line in lines(app, "talk")} == {"shop/talk.0", "shop/talk.1"}
    for chosen in (["talk.1"], ["shop/talk", "--slot", "1"], ["shop/talk.1"]):
        assert {line["source"]["path"] for line in lines(app, *chosen)} == {"shop/talk.1"}
    assert {line["source"]["path"] for line in lines(app, "inner/deep")} == {"shop/inner/deep.0"}
    assert {line["event"] for line in lines(app, "once", "--level", "error")} == {"classic"}
    ticks = lines(app, "talk", "--grep", r"^tick +.*number=1\b", "-n", "all")
    assert [line["number"] for line in ticks] == [1, 1]
    assert len(lines(app, "talk", "-n", "3")) == 3
    assert lines(app, "talk", "--since", "1h")
    assert not lines(app, "talk", "--until", "1h")


def test_text_for_people_and_raw_text_are_safe_on_terminals(app: App) -> None:
    """Escape sequences that a worker prints are shown, not obeyed."""
    until(lambda: len(lines(app, "once")) == 6)
    shown = app.command("logs", "once").stdout
    assert "err \\x1b[31mred" in shown
    assert "\x1b" not in shown
    assert "shop/once[0] structured  logger=talk  shop=north  order=7" in shown
    assert app.command("logs", "once", "--raw", "--grep", "^out").stdout == "out\n"


def test_mistakes_are_answered_with_advice(app: App) -> None:
    """An unknown path, a bad time, a bad expression: what is wrong, and what would be right."""
    wrong = app.command("logs", "shop/tlak")
    assert (wrong.returncode, "did you mean" in wrong.stderr) == (4, True)
    assert app.command("logs", "--since", "yesterday").returncode == 2
    assert app.command("logs", "--grep", "(").returncode == 2
    assert app.command("logs", "--logs", "/nowhere").returncode == 78


def test_following_goes_on_over_restarts(app: App) -> None:
    """New lines appear, also of the next process in the slot, each once."""
    with following(app, "--json", "talk.0", "-n", "0") as wait_for:
        first = json.loads(wait_for(lambda line: '"tick"' in line))
        assert app.command("restart", "talk.0").returncode == 0
        # Its very first record may come before root has told the pump who writes now.
        again = json.loads(wait_for(lambda line: '"tick"' in line and '"incarnation":2' in line))
        assert again["number"] < first["number"] + 100
        assert first["source"]["path"] == again["source"]["path"] == "shop/talk.0"


def test_levels_change_at_run_time_and_back(app: App) -> None:
    """Of running workers, of those started later, of nested ones; for a while, or until undone."""
    assert not lines(app, "-n", "all", "--grep", "detail")
    changed = app.command("log-level", "talk.0", "debug", "--for", "1h")
    assert (changed.returncode, changed.stdout) == (0, "shop/talk.0 logs at debug\n")
    app.until(lambda record: record["event"] == "detail")
    assert app.command("restart", "talk.0").returncode == 0
    app.until(lambda r: r["event"] == "detail" and r["source"]["incarnation"] == 2)
    assert app.command("log-level", "inner", "debug", "--for", "200ms").returncode == 0
    app.until(lambda r: r["event"] == "detail" and r["source"]["path"] == "shop/inner/deep.0")
    assert app.command("log-level", "talk.0", "default").returncode == 0

    def quiet() -> bool:
        now = lines(app, "-n", "40")
        return bool(now) and "detail" not in {line["event"] for line in now}

    until(quiet)
    assert {line["source"]["path"] for line in lines(app, "--grep", "^detail", "-n", "all")} == {
        "shop/talk.0",
        "shop/inner/deep.0",
    }


@pytest.mark.parametrize("options", [["-n", "all", "-f"], ["-n", "all"]])
def test_an_interrupt_ends_it_though_nobody_reads(tmp_path: Path, options: list[str]) -> None:
    """Blocked on a full pipe: exit 130 at once, no traceback."""
    kept = tmp_path / "logs" / "shop" / "talk"
    kept.mkdir(parents=True)
    line = {
        "time": "2026-11-21T08:00:00.000000Z", "level": "info", "event": "x" * 1000,
        "source": {"path": "shop/talk.0", "stream": "stdout", "pid": 1, "incarnation": 1},
    }  # fmt: skip
    (kept / "current.jsonl").write_text(f"{json.dumps(line)}\n" * 2000)
    command = ["logs", "--logs", str(tmp_path / "logs"), *options]
    with subprocess.Popen(
        [sys.executable, "-m", "supervisor.cli.main", *command],
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            until(lambda: is_full(f"/proc/{process.pid}/fd/1"))
            process.send_signal(signal.SIGINT)
            assert process.wait(5.0) == 130
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read().strip() == b""


def is_full(pipe: str) -> bool:
    """Whether who writes to a pipe has to wait."""
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    try:
        return not select.select([], [fd], [], 0)[1]
    finally:
        os.close(fd)


def test_logs_can_be_read_when_the_app_has_ended(tmp_path: Path) -> None:
    """By name, from the default place; a second run goes on in the same files."""
    state = {"XDG_STATE_HOME": str(tmp_path)}
    for _ in range(2):
        with running(APP, **state) as app:
            app.event("up")
            assert app.end() == 0
    environment = {**os.environ, **state, "SUPERVISOR_RUNTIME_DIR": str(tmp_path / "none")}
    found = supervisor("logs", "--name", "chatty", "root", "--json", environment=environment)
    assert [json.loads(line)["event"] for line in found.stdout.splitlines()] == [
        "up", "down", "up", "down",
    ]  # fmt: skip
    alone = supervisor("logs", "root", "--raw", environment=environment)
    assert alone.stdout.split() == ["up", "down", "up", "down"]


def test_files_can_be_switched_off_and_must_be_safe(tmp_path: Path) -> None:
    """--no-logs keeps nothing; a directory that others can write to is refused."""
    state = {"XDG_STATE_HOME": str(tmp_path)}
    with running(APP, "--no-logs", **state) as app:
        app.event("up")
        assert app.end() == 0
    assert not list(tmp_path.rglob("logs"))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    command = ["run", APP, "--no-health", "--logs", str(tmp_path / "open")]
    refused = supervisor(
        *command, environment={**os.environ, "SUPERVISOR_RUNTIME_DIR": str(tmp_path / "run")}
    )
    assert refused.returncode == 78
    assert "can be written by others" in refused.stderr
