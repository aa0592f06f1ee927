"""A store whose process is killed, or gets an error, at its n-th system call: for every n.

Run: python -m tests.crash.queue_sweep [--groups 20] [--seed 1] [--every 1]
The calls are those that change files; SIGKILLs, EIO and ENOSPC are real, made by strace. All that
was answered for has to be there afterwards, and nothing that was not written.
"""

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.store_cases import held
from tests.crash import system_calls
from tests.crash.disk import scratch
from tests.crash.queue_power import Held, models, recovered

CALLS = (
    "pwrite64", "fsync", "fdatasync", "ftruncate", "fallocate", "rename", "unlink", "mkdir"
)  # fmt: skip
#: What is done to the n-th of them.
FAULTS = {
    "SIGKILL": "signal=SIGKILL",
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "EIO for good": "error=EIO",
    "ENOSPC for good": "error=ENOSPC",
}
#: Runs at a time.
JOBS = os.cpu_count() or 1
#: Seconds for one run.
PATIENCE = 20


class Sweep:
    """All runs of one kind of store.

    Args:
        where: a folder for their files.
        durability: of the store.
        groups: so many are written by each.
        seed: of the groups.

    """

    def __init__(self, where: Path, durability: str, groups: int, seed: int) -> None:
        self._where, self._durability = where, durability
        self._groups, self._seed = groups, seed
        self._models: list[Held] = models(groups, seed)
        self.names: list[str] = []  # of the calls of a run that nothing happens to
        self._counting = threading.Lock()
        self.counts: Counter[str] = Counter()

    def calls(self) -> int:
        """Count the calls of a run that nothing happens to."""
        trace = self._where / "trace"
        self.write(self._where / "all", "-o", str(trace), "-e", f"trace={','.join(CALLS)}")
        self.names = system_calls.made(trace.read_text())
        return len(self.names)

    def fault(self, kind: str, number: int) -> str:
        """Do something to one run at its n-th call; return what is wrong afterwards."""
        folder = self._where / f"{kind} {number}".replace(" ", "-")
        if kind.endswith("for good"):
            inject = system_calls.since(self.names, number, FAULTS[kind], CALLS)
        else:
            inject = system_calls.at(self.names, number, FAULTS[kind])
        answers = self.write(folder, "-o", os.devnull, *inject)
        kept = [int(answer.split()[1]) for answer in answers if answer.startswith("kept")]
        last = kept[-1] if kept else 0
        with self._counting:
            self.counts.update((kind, self.names[number - 1]))
            self.counts["groups that were kept"] += last
        try:
            found = recovered(folder) if folder.exists() else None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if found is None:
            return "" if not last else f"{kind} at {number}: nothing is there"
        if found.damage:
            return f"{kind} at {number}: damage where there is none: {found.damage}"
        if held(found) not in self._models[last : last + 2]:
            return f"{kind} at {number}: after {last} groups it holds what it did not hold then"
        return ""

    def write(self, folder: Path, *options: str) -> list[str]:
        """Run the writer under strace, with these options; return what it answered."""
        arguments = [str(folder), self._durability, str(self._groups), str(self._seed)]
        run = subprocess.run(
            [
                "strace", "-f", *options, sys.executable, "-B", "-m", "tests.crash.store_writer",
                *arguments,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return run.stdout.decode().splitlines()

    def all(self, every: int, jobs: int) -> Iterator[str]:
        """Do each fault at every so many-th call; give what was wrong."""
        numbers = range(1, self.calls() + 1, every)
        yield from self.some([(kind, number) for kind in FAULTS for number in numbers], jobs)

    def some(self, points: Iterable[tuple[str, int]], jobs: int = JOBS) -> Iterator[str]:
        """Do these faults at these calls, some at a time; give what was wrong."""
        with ThreadPoolExecutor(jobs) as pool:
            yield from filter(None, pool.map(lambda point: self.fault(*point), points))


def main() -> None:
    """Sweep both kinds of store, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.queue_sweep")
    parser.add_argument("--groups", type=int, default=20, help="groups of changes in each run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="try every n-th call")
    options = parser.parse_args()
    wrong = []
    for durability in ("full", "process"):
        begun = time.monotonic()
        with scratch() as where:
            sweep = Sweep(where, durability, options.groups, options.seed)
            wrong += list(sweep.all(options.every, JOBS))
        seconds = time.monotonic() - begun
        print(f"{durability}: {dict(sweep.counts)}, {len(wrong)} violations, {seconds:.1f} s")
    for one in wrong[:20]:
        print(one)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
