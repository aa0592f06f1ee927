"""Runs a real app, `supervisor run`, for a test: its log records, its state, its end.

    with App("one_fault_each:tree", directory) as app:
        app.wait_for(event="child terminated", offender="segv.0")

Everything waits for an event with a deadline. The trees are in ``tests/crash/apps``.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Self, TypeVar

from supervisor.control.client import ask, get_snapshot
from supervisor.control.messages import Done, Request
from supervisor.control.runtime_dir import socket_path
from supervisor.observe.snapshot import ChildStatus, Snapshot, SupervisorStatus, WorkerStatus

APPS = Path(__file__).parent / "apps"
#: Seconds that anything may take before a test gives up: generous, the machine may be busy.
PATIENCE = 30.0
#: Seconds between two looks at something that does not announce itself.
LOOK = 0.02

Record = dict[str, Any]
Found = TypeVar("Found")


def eventually(look: Callable[[], Found], what: str = "", patience: float = PATIENCE) -> Found:
    """Return what ``look`` finds as soon as it is true; fails after ``patience`` seconds."""
    deadline = monotonic() + patience
    never = threading.Event()
    while not (found := look()):
        assert monotonic() < deadline, f"did not happen in {patience} s: {what or look}"
        never.wait(LOOK)
    return found


def crash_reports(directory: Path) -> list[Record]:
    """Read the reports in a directory. Of a kind the first and the last stay: one may just go."""
    found = []
    for path in directory.glob("*.json"):
        with suppress(FileNotFoundError):
            found.append(json.loads(path.read_text()))
    return found


class App:
    """One running app.

    Args:
        tree: "module:attribute", in ``tests/crash/apps`` or in ``cwd``.
        directory: becomes the runtime directory; short, a socket goes there.
        wrapper: put before the command (strace, for example).

    """

    def __init__(
        self,
        tree: str,
        directory: Path,
        *options: str,
        cwd: Path = APPS,
        env: dict[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
        **popen: Any,
    ) -> None:
        self.runtime = directory / "rt"
        self.records: list[Record] = []
        self._news = threading.Condition()
        command = [sys.executable, "-m", "supervisor.cli.main", "run", tree]
        no_health = [] if "--health" in options else ["--no-health"]
        self.process = subprocess.Popen(
            [*wrapper, *command, *no_health, "--log-format", "json", *options],
            cwd=cwd,
            env={**os.environ, "SUPERVISOR_RUNTIME_DIR": str(self.runtime), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **popen,
        )
        self._errors: list[bytes] = []
        self._readers = [
            threading.Thread(target=self._read_records, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._drain()

    # --- what it says -------------------------------------------------------------------------

    def wait_for(self, patience: float = PATIENCE, **fields: object) -> Record:
        """Wait for a record with these fields; ``path`` stands for the path of its source."""
        return self.wait_until(lambda: self.find(**fields), str(fields), patience)[0]

    def wait_until(
        self, look: Callable[[], Found], what: str = "", patience: float = PATIENCE
    ) -> Found:
        """Wait for something to be true of the records."""
        deadline = monotonic() + patience
        with self._news:
            while not (found := look()):
                left = deadline - monotonic()
                if left <= 0:
                    tail = "\n".join(map(str, self.records[-15:]))
                    raise AssertionError(f"never came: {what}\n{tail}\n{self.errors}")
                self._news.wait(left)
            return found

    def find(self, **fields: object) -> list[Record]:
        """Return the records so far that have these fields."""
        return [record for record in list(self.records) if _has(record, fields)]

    def said(self, slot: str, line: int = 0) -> str:
        """Wait for a line that a slot has printed: the first, or another."""
        lines = self.wait_until(
            lambda: self.find(path=slot, raw=True)[line:], f"line {line} of {slot}"
        )
        return str(lines[0]["event"])

    def ends(self, offender: str) -> list[str]:
        """Return the causes of the unplanned ends of a slot ("web.0"), in order."""
        found = self.find(event="child terminated", offender=offender)
        return [str(record["cause"]) for record in found]

    def ended(self, offender: str, *causes: str) -> None:
        """Wait until a slot has had just these unplanned ends: reports come a little later."""
        self.wait_until(lambda: self.ends(offender) == list(causes), f"{offender}: {causes}")

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return b"".join(self._errors).decode(errors="replace")

    # --- what it is ---------------------------------------------------------------------------

    @property
    def socket(self) -> str:
        """The path of the control socket."""
        return socket_path(str(self.runtime))

    def snapshot(self) -> Snapshot:
        """Ask for the state of the whole tree."""
        return get_snapshot(self.socket)

    def ask(self, request: Request) -> Done:
        """Have a command carried out."""
        return ask(self.socket, request, PATIENCE)

    def worker(self, path: str) -> WorkerStatus:
        """Ask for the state of one slot."""
        found = self._worker(path)
        assert found is not None, path
        return found

    def _worker(self, path: str) -> WorkerStatus | None:
        found = (worker for worker in workers(self.snapshot().tree) if worker.path == path)
        return next(found, None)  # what a nested supervisor has to tell comes a little later

    def wait_worker(
        self, path: str, is_so: Callable[[WorkerStatus], object], what: str = ""
    ) -> WorkerStatus:
        """Wait until something is true of a slot."""

        def look() -> WorkerStatus | None:
            worker = self._worker(path)
            return worker if worker is not None and is_so(worker) else None

        found = eventually(look, f"{path} {what}")
        assert found is not None
        return found

    def ready(self, path: str) -> WorkerStatus:
        """Wait until a slot is ready."""
        return self.wait_worker(path, lambda worker: worker.state == "ready", "ready")

    def up(self) -> Self:
        """Wait until the whole tree was started."""
        self.wait_for(event="up")
        return self

    # --- its end ------------------------------------------------------------------------------

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        code = self.process.wait(PATIENCE)
        self._drain()
        return code

    def _drain(self) -> None:
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
            assert not reader.is_alive(), "somebody who was left behind holds its output"
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _read_records(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                record = json.loads(line)
            except ValueError:
                record = {"event": line.decode(errors="replace"), "unparsed": True}
            with self._news:
                self.records.append(record)
                self._news.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._errors.append(line)


def workers(node: SupervisorStatus | ChildStatus) -> list[WorkerStatus]:
    """Return all slots below a node."""
    if isinstance(node, ChildStatus):
        return node.workers
    return [worker for child in node.children for worker in workers(child)]


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _has(record: Record, fields: dict[str, object]) -> bool:
    for key, value in fields.items():
        found = record.get("source", {}).get("path") if key == "path" else record.get(key)
        if found != value:
            return False
    return True
