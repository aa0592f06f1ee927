"""One capture of a writer's lines: by us, by peers; how many lines a second, at what cost."""

import contextlib
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from bench import peers, runners

WRITER = str(Path(__file__).with_name("log_writers.py"))
SEGMENT = 10 * 1024 * 1024
#: Directories of what our runtime logs itself: a line of its janitor's is not the writer's last.
OWN = ("root", "runtime")
#: Seconds to wait for lines before a run is called off, and without news until it has ended.
PATIENCE, QUIET = 120.0, 0.5

SUPERVISORD = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={directory}/pid
[program:writer]
command={python} -S {writer}
stdout_logfile={directory}/kept/out.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=1000
startsecs=0
"""
CIRCUS = """
[circus]
endpoint = ipc://{directory}/endpoint
pubsub_endpoint = ipc://{directory}/pubsub
[watcher:writer]
cmd = {python} -S {writer}
copy_env = True
stdout_stream.class = FileStream
stdout_stream.filename = {directory}/kept/out.log
stdout_stream.max_bytes = 10485760
stdout_stream.backup_count = 1000
"""


class Outcome(NamedTuple):
    """One run: lines a second, processor seconds for a million lines, lines that are missing."""

    rate: float
    cpu: float
    lost: int


Runner = Callable[[Path, str], contextlib.AbstractContextManager[subprocess.Popen[bytes]]]


def capture(runner: Runner, count: int, form: str) -> Outcome:
    """Have a writer's lines captured, and look at what it took."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        (directory / "kept").mkdir(mode=0o700)
        notes = directory / "notes"
        with runner(directory, f"{WRITER} {count} {form} {notes}") as process:
            _wait_for_notes(notes, 1)
            before = cpu_seconds(process.pid)
            _wait_for_notes(notes, 2)
            ended = wait_until_quiet(directory / "kept")
            cpu = cpu_seconds(process.pid) - before
        began = float(notes.read_text().split()[0])  # and nobody changes the files any more
        return Outcome(
            count / (ended - began), cpu / count * 1e6, count - lines(directory / "kept")
        )


def _wait_for_notes(notes: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not notes.exists() or notes.read_text().count("\n") < count:
        if time.monotonic() > deadline:
            raise TimeoutError("the writer has not ended")
        time.sleep(0.01)


def files(directory: Path) -> list[os.DirEntry[str]]:
    """List the files of captured lines below a directory: not what our runtime has to say."""
    found, waiting = [], [str(directory)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name not in OWN:
                        waiting.append(entry.path)
                elif not entry.name.startswith("."):
                    found.append(entry)
    return found


def wait_until_quiet(directory: Path) -> float:
    """Wait until nothing is added any more; returns when the last was (Unix seconds).

    What goes on with closed files is not waited for.
    """
    seen: list[tuple[int, float]] = []
    since = time.monotonic()
    while not seen or time.monotonic() < since + QUIET:
        try:
            found = [e.stat() for e in files(directory) if not e.name.startswith("@")]
        except FileNotFoundError:  # renamed since it was listed
            continue
        now = [(info.st_size, info.st_mtime) for info in found]
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.02)
    return max(when for _, when in seen)


def lines(directory: Path) -> int:
    """Count the captured lines, not those that others wrote; raw ones may begin in one file."""
    total, rest = 0, b""
    for entry in sorted(files(directory), key=lambda entry: entry.path):
        data = Path(entry.path).read_bytes()
        if entry.name.endswith(".gz"):
            data = gzip.decompress(data)
        if b'"event":"' in data[:1000]:
            total += data.count(b'xxxxxxxxxx"')
            continue
        rest += data
        total += rest.count(b"xxxxxxxxxx\n")
        rest = rest[rest.rfind(b"\n") + 1 :]
    return total


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all below it, but for the writer itself."""
    total = 0.0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if WRITER not in process.cmdline():
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


# --- who captures -----------------------------------------------------------------------------


def ours(form: str, *options: str) -> Runner:
    """Our supervisor, with raw or JSON files."""

    @contextlib.contextmanager
    def run(directory: Path, writer: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [
            sys.executable, "-m", "supervisor.cli.main", "run", "bench.log_app:capture",
            "--no-health", "--log-format", "none", "--log-files", form, "--log-rate", "0",
            "--log-segment", str(SEGMENT), "--log-max-use", "20GiB", "--log-keep-free", "1",
            "--logs", str(directory / "kept"), *options,
        ]  # fmt: skip
        runtime = str(directory / "run")
        environment = {**os.environ, "SUPERVISOR_RUNTIME_DIR": runtime, "WRITER": writer}
        with runners.running(command, environment) as process:
            yield process

    return run


def peer(program: str, template: str, flags: list[str]) -> Runner:
    """A peer that is configured by a file."""

    @contextlib.contextmanager
    def run(directory: Path, writer: str) -> Iterator[subprocess.Popen[bytes]]:
        config = directory / "config.ini"
        config.write_text(
            template.format(directory=directory, python=sys.executable, writer=writer)
        )
        command = [str(peers.install() / program), *flags, str(config)]
        with runners.running(command, dict(os.environ)) as process:
            yield process

    return run


@contextlib.contextmanager
def s6_log(directory: Path, writer: str) -> Iterator[subprocess.Popen[bytes]]:
    """s6-log behind a pipe."""
    kept = directory / "kept"
    command = f"exec {sys.executable} -S {writer} | s6-log n1000 s10000000 {kept}"
    with runners.running(["/bin/sh", "-c", command], dict(os.environ)) as process:
        yield process


def contestants() -> dict[str, Runner]:
    """Return who captures, by name; s6-log only where it is installed."""
    found = {
        "ours, raw": ours("raw", "--no-log-compression"),
        "ours, JSON": ours("json", "--no-log-compression"),
        "ours, JSON, compressed": ours("json"),
        "supervisord": peer("supervisord", SUPERVISORD, ["-c"]),
        "circus": peer("circusd", CIRCUS, []),
    }
    if shutil.which("s6-log"):
        found["s6-log"] = s6_log
    return found
