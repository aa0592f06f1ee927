"""Workers that leak 1 MiB a message, under load: does capacity dip, is a message lost?

    python -m bench.leak [--minutes N] [--workers N] [--seconds S] [--quick] [--json]

Sampled every half second: the sum of private bytes against the budget, ready workers against the
target. In the end every message put must have been handled.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.figures import Figures, finish, table
from bench.runners import running
from bench.soak import up
from supervisor.control.client import get_snapshot
from supervisor.control.runtime_dir import socket_path
from supervisor.observe.judge import children
from supervisor.observe.snapshot import WorkerStatus
from supervisor.process import sample

MIB = 1 << 20


def leaky(control: str) -> list[WorkerStatus]:
    """Return the workers that leak."""
    tree = get_snapshot(control).tree
    return [w for child in children(tree) if child.path == "leak/leaky" for w in child.workers]


def numbers(path: str) -> list[int]:
    """Return what is in a ledger."""
    return [int(line) for line in Path(path).read_text().split()] if os.path.exists(path) else []


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, help="default 5; quick: a third of one")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, help="that a message takes: 0.5; quick: 0.25")
    parser.add_argument("--quick", action="store_true", help="short, with faster leaks: 40 s")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    options.minutes = options.minutes or (1 / 3 if options.quick else 5.0)
    options.seconds = options.seconds or (0.25 if options.quick else 0.5)
    most, least_ready = 0, options.workers
    with tempfile.TemporaryDirectory(prefix="leak-") as directory:
        ledger = os.path.join(directory, "ledger")
        command = [sys.executable, "-m", "supervisor.cli.main", "run", "bench.leak_app:tree"]
        environment = {
            "SUPERVISOR_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory, "LEDGER": ledger,
            "COUNT": str(options.workers), "SECONDS": str(options.seconds),
        }  # fmt: skip
        with running([*command, "--no-health", "--log-format", "json"], environment):
            control = socket_path(directory)
            up(control)
            end = time.monotonic() + 60 * options.minutes
            while time.monotonic() < end:
                workers = leaky(control)
                least_ready = min(least_ready, sum(one.state == "ready" for one in workers))
                used = [sample.private_bytes(one.pid) or 0 for one in workers if one.pid]
                most = max(most, sum(used))
                time.sleep(0.5)
            Path(ledger + ".enough").touch()
            while not (produced := numbers(ledger + ".produced")):
                time.sleep(0.1)
            patience = time.monotonic() + 120
            while time.monotonic() < patience:
                handled = Counter(numbers(ledger + ".handled"))
                if len(handled) >= produced[0]:
                    break
                time.sleep(0.2)
            workers = leaky(control)
    causes = Counter(one.last_exit.cause for one in workers if one.last_exit)
    figures: Figures = {
        "minutes": options.minutes,
        "messages": produced[0],
        "lost": produced[0] - len(handled),
        "twice": sum(count - 1 for count in handled.values()),
        "recycles": sum(one.recycles for one in workers),
        "restarts": sum(one.restarts for one in workers),
        "least_ready": least_ready,
        "deficit_worker_seconds": sum(one.capacity_lost for one in workers),
        "most_private_mib": most / MIB,
        "budget_mib": 128 * options.workers + 128,
    }
    print(table(list(figures), [list(figures.values())]))
    print("last exits:", dict(causes))
    finish(figures, options.json)


if __name__ == "__main__":
    main()
