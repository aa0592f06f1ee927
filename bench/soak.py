"""Restarts and messages for minutes on end: does anything of the runtime grow?

    python -m bench.soak [--minutes N] [--rate R] [--quick] [--json]

Workers are SIGKILLed R times a second while messages flow. Private bytes, descriptors and threads
of root, the templates and every service are sampled, and the disk that the app takes; what is
printed is their slope over the second half of the run (Theil-Sen), by minute and by 1000 restarts.
Flat is: less than 1 MiB in an hour; log files grow up to their budget.

Kills that the machine was too busy for are made up for: in 20 minutes at 90 a second there are 10^5
restarts if a worker is back within 0.1 s. Half a minute (--quick) shows that it works: what has
settled after it is seen in longer runs only.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator

from bench.figures import Figures, finish, table
from bench.runners import running
from supervisor.control.client import get_snapshot
from supervisor.control.runtime_dir import socket_path
from supervisor.core.trend import slope
from supervisor.doctor.sizes import bytes_below
from supervisor.errors import SupervisorError
from supervisor.observe.judge import children
from supervisor.observe.snapshot import Snapshot
from supervisor.process import sample

MIB = 1 << 20
#: Seconds between two samples.
EVERY = 2.0
#: Seconds between two rounds of kills.
ROUND = 0.03
#: The part of the rounds in which the producer is one of those that may be killed.
FEED = 0.1


@contextlib.contextmanager
def app(*options: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run the app; yields its process and the path of its control socket, beside all its files."""
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        command = [sys.executable, "-m", "supervisor.cli.main", "run", "bench.soak_app:tree"]
        environment = {"SUPERVISOR_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory}
        with running([*command, "--no-health", *options], environment) as process:
            yield process, socket_path(directory)


def up(control: str) -> Snapshot:
    """Wait until the whole app runs."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(SupervisorError, OSError):
            snapshot = get_snapshot(control)
            if snapshot.phase == "running":
                return snapshot
        time.sleep(0.05)
    raise SystemExit("the app does not come up")


def parts(snapshot: Snapshot) -> dict[str, int]:
    """Return the pids of all that should stay flat."""
    found = {"root": snapshot.pid}
    release = {one.pid for one in snapshot.templates if one.state == "serving"}
    for pid in sample.children_of(snapshot.pid):
        found["template release" if pid in release else "template runtime"] = pid
    found |= {one.path.removeprefix("runtime/"): one.pid for one in snapshot.services if one.pid}
    return found


class Soak:
    """Kills, samples, counts."""

    def __init__(self, control: str) -> None:
        self._control = control
        self.samples: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self.disk: list[tuple[float, float]] = []
        self.kills = 0
        self.messages = 0
        self._produced: dict[int, int] = {}  # by pid
        self.began = time.monotonic()

    def sample(self) -> Snapshot:
        """Look at all parts."""
        snapshot = get_snapshot(self._control)
        now = time.monotonic() - self.began
        for name, pid in parts(snapshot).items():
            vitals = sample.vitals(pid)
            found = {
                "private": sample.private_bytes(pid),
                "fds": sample.descriptors(pid),
                "threads": vitals.threads if vitals else None,
            }
            for what, value in found.items():
                if value is not None:
                    self.samples[name, what].append((now, float(value)))
        self.disk.append((now, float(bytes_below(os.path.dirname(self._control)))))
        for child in children(snapshot.tree):
            for worker in child.workers:
                if child.path == "soak/feed" and worker.pid is not None:
                    self._produced[worker.pid] = worker.progress
        self.messages = sum(self._produced.values())
        return snapshot

    def kill_some(self, snapshot: Snapshot, most: int) -> None:
        """SIGKILL some of the workers that are there; the producer has to get something done."""
        pids = [
            worker.pid
            for child in children(snapshot.tree)
            for worker in child.workers
            if worker.pid and (child.path != "soak/feed" or random.random() < FEED)
        ]
        for pid in random.sample(pids, min(most, len(pids))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills += 1

    def run(self, seconds: float, rate: float) -> Snapshot:
        """Go on for so long."""
        snapshot = self.sample()
        sampled = time.monotonic()
        while time.monotonic() - self.began < seconds:
            due = int(rate * (time.monotonic() - self.began)) - self.kills
            self.kill_some(snapshot, due)
            time.sleep(ROUND)
            if time.monotonic() - sampled >= EVERY:
                snapshot, sampled = self.sample(), time.monotonic()
            else:
                snapshot = get_snapshot(self._control)
        return self.sample()


def main() -> None:
    """Soak, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, help="default 20; quick: half a one")
    parser.add_argument("--rate", type=float, default=100.0, help="kills a second")
    parser.add_argument("--quick", action="store_true", help="half a minute")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    seconds = 60 * (options.minutes or (0.5 if options.quick else 20.0))
    with app("--log-format", "json", "--restart-rate", "10000") as (_, control):
        first = up(control)
        soak = Soak(control)
        last = soak.run(seconds, options.rate)
    minutes = (time.monotonic() - soak.began) / 60
    restarts = _restarts(last) - _restarts(first)
    figures: Figures = {"minutes": minutes, "restarts": restarts, "messages": soak.messages}
    rows = []
    for name in dict.fromkeys(name for name, _ in soak.samples):
        row: list[object] = [name]
        for what, unit in (("private", MIB), ("fds", 1), ("threads", 1)):
            points = soak.samples[name, what]
            half = points[len(points) // 2 :]
            per_minute = 60 * (slope(half) or 0.0) / unit
            row += [half[-1][1] / unit, per_minute]
            figures[f"{name.replace(' ', '_')}_{what}_per_minute"] = per_minute
        rows.append([*row, 1000 * float(str(row[2])) * minutes / max(1, restarts)])
    head = ["process", "private MiB", "MiB/min", "fds", "fds/min", "threads", "threads/min",
            "MiB/1000 restarts"]  # fmt: skip
    half = soak.disk[len(soak.disk) // 2 :]
    figures["disk_per_minute"] = 60 * (slope(half) or 0.0) / MIB
    rate = restarts / (60 * minutes)
    print(f"{minutes:.1f} minutes, {restarts} restarts ({rate:.0f}/s), {soak.messages} messages")
    print(table(head, rows))
    print(f"disk: {half[-1][1] / MIB:.1f} MiB, {figures['disk_per_minute']:+.2f} MiB/min")
    finish(figures, options.json)


def _restarts(snapshot: Snapshot) -> int:
    return sum(w.restarts for child in children(snapshot.tree) for w in child.workers)


if __name__ == "__main__":
    main()
