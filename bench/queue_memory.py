"""Memory of producer, broker and consumer while the consumer is slower than the producer.

    python -m bench.queue_memory [--seconds N] [--quick] [--json]

The producer puts 1 KiB messages as fast as it may, the consumer handles 2000 of them a second. What
is measured is the growth of each process between the first fifth of the time and the end.
"""

import argparse
import itertools
import os
import signal
import time

from bench.figures import Figures, finish, table
from bench.queue_transports import Ours, fork

MESSAGE = b"x" * 1024
PAUSE = 0.0005


def rss(pid: int) -> float:
    """MiB of a process that are in memory."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="ten seconds")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    seconds = 10.0 if options.quick else options.seconds
    transport = Ours()
    transport.open(1)
    pids = {
        "producer": fork(
            lambda: transport.producer(lambda: None, itertools.repeat(MESSAGE), 1)  # type: ignore[arg-type]
        ),
        "broker": transport.broker,
        "consumer": fork(
            lambda: transport.consumer(0, lambda: None, lambda _message: time.sleep(PAUSE))
        ),
    }
    samples: dict[str, list[float]] = {name: [] for name in pids}
    began = time.monotonic()
    try:
        while time.monotonic() - began < seconds:
            time.sleep(0.1)
            for name, pid in pids.items():
                samples[name].append(rss(pid))
    finally:
        for name in ("producer", "consumer"):
            os.kill(pids[name], signal.SIGKILL)
            os.waitpid(pids[name], 0)
        transport.close()
    figures: Figures = {"seconds": seconds}
    rows = []
    for name, found in samples.items():
        warm = found[len(found) // 5 :]
        figures[f"{name}_growth_mib"] = max(warm) - warm[0]
        rows.append([name, warm[0], warm[-1], max(warm), max(warm) - warm[0]])
    print(table(["process", "MiB at first", "at the end", "at most", "growth"], rows))
    finish(figures, options.json)


if __name__ == "__main__":
    main()
