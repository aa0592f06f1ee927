"""Root, killed at its n-th system call: while it starts, works, and ends.

Run: python -m tests.crash.root_sweep [--every 10]
After each kill nothing of the app may be left within five seconds, and the next run has to find a
clean place, and a durable queue that has kept what was confirmed. The kills are made by strace.
"""

import argparse
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.crash import system_calls
from tests.crash.app_harness import App
from tests.crash.disk import scratch
from tests.crash.running_app import copies, gone, run_tree
from tests.crash.trees.tally import COUNT, noted

#: Seconds until all of an app has to be gone with its root.
GONE = 5.0
#: Runs at a time: each of them waits now and then.
JOBS = 2


class RootSweep:
    """Runs of `trees/mortal.py`.

    Args:
        where: a folder for their files; its path is short, sockets go there.

    """

    def __init__(self, where: Path) -> None:
        self._where = where
        self._calls: list[str] = []
        self._counting = threading.Lock()
        self.counts: Counter[str] = Counter()

    def calls(self) -> range:
        """Return the numbers of the calls of a run: from where it is the runtime's code on."""
        trace = self._where / "trace"
        here = self._where / "whole"
        here.mkdir()
        with _run(here, "strace", "-qq", "-o", str(trace), "-e", "trace=all") as app:
            assert app.wait() == 0, app.errors
        shutil.rmtree(here)
        before, _, _ = trace.read_text().partition(str(here))
        self._calls = system_calls.made(trace.read_text())
        return range(len(system_calls.made(before)), len(self._calls) + 1)

    def kill(self, number: int) -> str:
        """Kill root at its n-th call; return what is wrong afterwards."""
        here = self._where / str(number)
        here.mkdir()
        try:
            inject = system_calls.at(self._calls, number, "signal=SIGKILL")
            with _run(here, "strace", "-qq", "-o", os.devnull, *inject) as app:
                code = app.wait()
                gone(app, GONE)
            kept = noted(here / "marks" / "confirmed")
            with self._counting:
                self.counts["killed" if code == -signal.SIGKILL else "ended before"] += 1
                self.counts["numbers confirmed before the kill"] += len(kept)
            return self._wrong(number, here)
        finally:
            shutil.rmtree(here, ignore_errors=True)

    def all(self, numbers: Sequence[int], jobs: int) -> Iterator[str]:
        """Kill at each of these calls, in so many runs at a time; give what was wrong."""
        with ThreadPoolExecutor(jobs) as pool:
            yield from filter(None, pool.map(self.kill, numbers))

    def _wrong(self, number: int, here: Path) -> str:
        with _run(here) as app:
            if code := app.wait():
                return f"call {number}: the next run ended with {code}: {app.errors}"
            gone(app, GONE)
        missing = set(range(COUNT)) - noted(here / "marks" / "done")
        if missing:
            return f"call {number}: never done: {sorted(missing)}"
        return f"call {number}: two copies of {doubles}" if (doubles := copies(app)) else ""


def _run(here: Path, *wrapper: str) -> App:
    return run_tree("mortal:tree", here, "--state", str(here / "state"), wrapper=wrapper)


def main() -> None:
    """Sweep, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.root_sweep")
    parser.add_argument("--every", type=int, default=10, help="try every n-th call")
    options = parser.parse_args()
    begun = time.monotonic()
    with scratch() as where:
        sweep = RootSweep(where)
        calls = sweep.calls()
        wrong = list(sweep.all(calls[:: options.every], JOBS))
    seconds = time.monotonic() - begun
    print(f"{len(calls)} calls: {dict(sweep.counts)}, {len(wrong)} violations, {seconds:.0f} s")
    for one in wrong[:20]:
        print(one)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
