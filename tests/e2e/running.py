"""Run an app with the real command line, wait for what it says, and end it."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0


class App:
    """A running `supervisor run`, and the log records that it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], environment: dict[str, str]) -> None:
        self.process, self.environment = process, environment
        self.records: list[dict[str, Any]] = []
        self._rest = b""

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a record, reading what is printed."""
        assert self.process.stdout is not None
        seen, deadline = 0, time.monotonic() + PATIENCE
        while True:
            for record in self.records[seen:]:
                seen += 1
                if wanted(record):
                    return record
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            data = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            if not data:
                raise AssertionError(f"not said: {[r.get('event') for r in self.records][-20:]}")
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.records.extend(json.loads(line) for line in lines if line.strip())

    def event(self, text: str) -> dict[str, Any]:
        """Wait for a record whose event contains this text."""
        return self.until(lambda record: text in str(record["event"]))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `supervisor` command about this app."""
        return supervisor(*arguments, environment=self.environment)

    def end(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running(app: str, *arguments: str, health: bool = False, **environment: str) -> Iterator[App]:
    """Run an app in a runtime directory of its own; it is killed in the end if it still runs."""
    with tempfile.TemporaryDirectory() as directory:
        variables = {**os.environ, "SUPERVISOR_RUNTIME_DIR": directory, **environment}
        flags = [
            "--log-format",
            "json",
            *(["--health", "127.0.0.1:0"] if health else ["--no-health"]),
        ]
        command = [sys.executable, "-m", "supervisor.cli.main", "run", *flags, app, *arguments]
        with subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as process:
            try:
                yield App(process, variables)
            finally:
                process.kill()


def supervisor(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a `supervisor` command to its end."""
    command = [sys.executable, "-m", "supervisor.cli.main", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=50
    )
