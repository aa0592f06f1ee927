"""What N idle workers cost: processor time and wake-ups of the runtime, private memory of a worker.

python -m bench.idle [N] [--quick] [--json]
"""

import argparse
import re
import time
from pathlib import Path

import psutil

from bench import runners
from bench.figures import Figures, finish, p50, table
from bench.reports import Reports

#: Seconds from the start of the last worker until it is over: spares are filled, the janitor has
#: looked round, and the pump has noted the last lines, which it does after 5 s.
START = 6.0


def cpu_ns(pid: int) -> int:
    """Nanoseconds of processor time used so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def wakeups(pid: int) -> int:
    """How often it gave up the processor by itself, so how often it was woken."""
    found = re.search(
        r"^voluntary_ctxt_switches:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M
    )
    assert found is not None
    return int(found[1])


def private_bytes(pid: int) -> int:
    """Memory that is its own: what would be free without it."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(kb) for kb in re.findall(r"^Private_\w+:\s*(\d+)", rollup, re.M))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=100)
    parser.add_argument("--quick", action="store_true", help="watch for 10 s, not 60")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    seconds = 10.0 if options.quick else 60.0
    with Reports() as reports, runners.ours(reports, options.count) as root:
        workers = [pid for pid, _ in reports.take(options.count)]
        time.sleep(START)
        tree = {process.pid for process in psutil.Process(root.pid).children(recursive=True)}
        runtime = [root.pid, *psutil_children(root.pid)]
        others = sorted(tree - set(workers))
        used = {pid: cpu_ns(pid) for pid in [*others, root.pid]}
        woken = {pid: wakeups(pid) for pid in [*others, root.pid]}
        time.sleep(seconds)
        cpu = sum(cpu_ns(pid) - used[pid] for pid in runtime) / 1e9
        wakes = sum(wakeups(pid) - woken[pid] for pid in used)
        private = [private_bytes(pid) / 2**20 for pid in workers]
        own = sum(private_bytes(pid) for pid in used) / 2**20
    figures: Figures = {
        "count": options.count,
        "cpu_percent": 100 * cpu / seconds,
        "wakeups_per_second": wakes / seconds,
        "worker_private_mib": p50(private),
        "runtime_private_mib": own,
    }
    head = ["workers", "CPU % of root + templates", "wake-ups/s of the runtime",
            "private MiB a worker", "private MiB of the runtime"]  # fmt: skip
    print(table(head, [list(figures.values())]))
    finish(figures, options.json)


def psutil_children(pid: int) -> list[int]:
    """The templates: root's own children."""
    return [process.pid for process in psutil.Process(pid).children()]


if __name__ == "__main__":
    main()
