"""SIGKILL of a worker -> the first line of its replacement's code.

    python -m bench.restart [--quick] [--json] [-n N]

"floor" is a bare loop that waits and forks. "relay" is three processes that do nothing but what a
spare takes at the least: the parent reaps the dead and says so, who decides tells the spare.

The contestants take turns, round after round, so that a slow spell of the machine meets them all.
Peers are installed into a virtual environment of their own, unless --quick.
"""

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Callable

from bench import peers, runners
from bench.figures import Figures, finish, p50, p99, table
from bench.reports import Reports

#: Seconds between two kills: nobody is measured while it still cleans up after the last one.
PAUSE = 0.06

Contestant = Callable[[Reports], contextlib.AbstractContextManager[object]]

OURS: dict[str, Contestant] = {
    "floor": lambda reports: runners.floor(reports, 1),
    "relay": runners.relay,
    "spare": lambda reports: runners.ours(reports, 1),
    "cold": lambda reports: runners.ours(reports, 1, "--spares", "0"),
}
LOOPS: dict[str, Contestant] = {
    "mp_fork": lambda reports: runners.multiprocessing(reports, "fork"),
    "mp_spawn": lambda reports: runners.multiprocessing(reports, "spawn"),
}


def measure(contestant: Contestant, kills: int) -> list[float]:
    """Kill the worker again and again; milliseconds until its successor runs."""
    latencies = []
    with Reports() as reports, contestant(reports):
        pid, _ = reports.take(1)[0]
        for _ in range(kills):
            time.sleep(PAUSE)
            killed = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            pid, ran = reports.take(1)[0]
            latencies.append((ran - killed) / 1e6)
    return latencies


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="floors and loops only, at most 40 s")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("-n", type=int, help="kills of each contestant (default 150; quick: 60)")
    options = parser.parse_args()
    kills = options.n or (60 if options.quick else 150)
    rounds = 3
    contestants = OURS | ({} if options.quick else LOOPS | peers.contestants())
    latencies: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            few = 1 if name in peers.SLOW else kills // rounds
            latencies[name] += measure(contestant, min(kills // rounds, max(few, 5)))
    figures: Figures = {}
    rows = []
    for name, values in latencies.items():
        figures[f"{name}_p50_ms"], figures[f"{name}_p99_ms"] = p50(values), p99(values)
        ratio = p50(values) / p50(latencies["floor"])
        rows.append([name, len(values), p50(values), p99(values), ratio])
        figures[f"{name}_over_floor"] = ratio
    print(table(["who", "kills", "p50 ms", "p99 ms", "x floor"], rows))
    finish(figures, options.json)


if __name__ == "__main__":
    main()
