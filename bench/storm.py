"""N workers SIGKILLed at once -> all of them back.

    python -m bench.storm [N] [--quick] [--json]

The floor is the time one preloaded process takes to fork N workers and have each run its first
line. `ping` is the longest that root's control socket took to answer meanwhile.
"""

import os
import signal
import threading
import time

from bench import runners
from bench.figures import Figures, counted, finish, p50, table
from bench.reports import Reports
from supervisor.control.client import ControlClient
from supervisor.control.messages import Ping
from supervisor.priority import go_first


def floor(count: int) -> float:
    """Milliseconds from the first first line to the last of N forks in a row."""
    with Reports() as reports, runners.floor(reports, count):
        return span(reports.take(count))


def span(lines: list[tuple[int, int]]) -> float:
    """Milliseconds between the first and the last."""
    times = [ran for _, ran in lines]
    return (max(times) - min(times)) / 1e6


class Pinger(threading.Thread):
    """Asks root whether it is there, all the while."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._done = threading.Event()
        self.longest_ms = 0.0

    def run(self) -> None:
        """Ping until told to stop."""
        go_first()  # a thread of ours has not inherited it
        with ControlClient(self._path, timeout=10.0) as client:
            while not self._done.is_set():
                asked = time.monotonic()
                client.request(Ping())
                self.longest_ms = max(self.longest_ms, (time.monotonic() - asked) * 1e3)
                self._done.wait(0.002)

    def stop(self) -> None:
        """Stop and wait for it."""
        self._done.set()
        self.join()


def storm(count: int) -> tuple[float, float]:
    """Kill all N: milliseconds until all are back, and the longest ping."""
    go_first()  # what is measured is root's silence, not how long we wait for the processor
    with Reports() as reports, runners.ours(reports, count) as process:
        pids = {pid for pid, _ in reports.take(count)}
        pinger = Pinger(os.path.join(process.directory, "control.sock"))  # type: ignore[attr-defined]
        pinger.start()
        time.sleep(1.0)  # everything at rest
        began = time.monotonic_ns()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        back = reports.take(count)
        took = (max(ran for _, ran in back) - began) / 1e6
        assert len({pid for pid, _ in back} - pids) == count
        pinger.stop()
        return took, pinger.longest_ms


def main() -> None:
    """Measure and print."""
    count, rounds, as_json = counted(__doc__, 100)
    floors, storms, pings = [], [], []
    for _ in range(rounds):
        floors.append(floor(count))
        took, ping = storm(count)
        storms.append(took)
        pings.append(ping)
    figures: Figures = {
        "count": count,
        "floor_ms": p50(floors),
        "storm_ms": p50(storms),
        "storm_over_floor": p50(storms) / p50(floors),
        "longest_ping_ms": max(pings),
    }
    head = ["workers", "floor ms", "all back ms", "x floor", "longest ping ms"]
    print(table(head, [list(figures.values())]))
    finish(figures, as_json)


if __name__ == "__main__":
    main()
