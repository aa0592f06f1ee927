"""Loss of power, and the end of the process, at every system call of a store: what is left?

Run: python -m tests.crash.queue_power [--groups 40] [--states 20] [--seed 1]
Of each prefix of the recorded calls it makes the states that a crash there can leave, opens each,
and compares: everything that was answered for has to be there, or its loss reported.
"""

import argparse
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.store_cases import Writer, held
from tests.crash.disk import Disk, lay_out, record, scratch
from workers.queues.store.contract import MemoryStore, Recovered
from workers.queues.store.sqlite.store import SqliteStore

Held = tuple[object, ...]


def models(groups: int, seed: int) -> list[Held]:
    """Return what a store holds after 0, 1, 2 ... groups."""
    model, writer = MemoryStore(), Writer(seed)
    found = [held(model.recover())]
    for _ in range(groups):
        model.write(writer.group())
        found.append(held(model.recover()))
    return found


def recovered(folder: Path) -> Recovered:
    """Open what is left, and close it again."""
    store = SqliteStore(str(folder), "process", 4096)
    try:
        return store.recover()
    finally:
        store.close()


class Crashes:
    """All crashes of one run of the writer.

    Args:
        where: a folder for its files.
        durability: of the store.
        groups: so many are written.
        seed: of the groups, and of what is left.
        power: whether it is lost; else only the process is.

    """

    def __init__(self, where: Path, durability: str, groups: int, seed: int, power: bool) -> None:
        self._folder, self._left = where / "disk", where / "left"
        self._power, self._seed = power, seed
        self._models = models(groups, seed)
        arguments = ["tests.crash.store_writer", str(self._folder), durability]
        self._calls = record([*arguments, str(groups), str(seed)], where / "trace")
        self.counts: Counter[str] = Counter()

    def run(self, states: int, every: int = 1) -> list[str]:
        """Try every so many-th call, with so many random states each; return what went wrong."""
        chance = random.Random(self._seed)
        disk, wrong, number = Disk(self._folder), [], 0
        for call in self._calls:
            if not disk.apply(call):
                continue
            number += 1
            if number % every:
                continue
            self.counts["points"] += 1
            for kind, files in self._states(disk, states, chance):
                problem = self._look(kind, files, _kept(disk))
                if problem:
                    wrong.append(f"call {number} ({call.name}), {kind}: {problem}")
        assert disk.answers[-1] == "closed", disk.answers[-3:]
        return wrong

    def _states(
        self, disk: Disk, states: int, chance: random.Random
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        yield "killed", disk.everything()
        if self._power:
            yield "power lost", disk.synced()
            for _ in range(states):
                yield "power lost, some left", disk.some(chance)

    def _look(self, kind: str, files: dict[str, bytes], kept: int) -> str:
        shutil.rmtree(self._left, ignore_errors=True)
        lay_out(files, self._folder, self._left)
        self.counts[kind] += 1
        found = recovered(self._left)
        if found.damage:
            return f"damage where there is none: {found.damage}"
        if held(found) not in self._models[kept : kept + 2]:
            return f"after {kept} groups it holds what it did not hold then"
        self.counts["groups that were kept"] += kept
        return ""


def _kept(disk: Disk) -> int:
    numbers = [int(answer.split()[1]) for answer in disk.answers if answer.startswith("kept")]
    return numbers[-1] if numbers else 0


def main() -> None:
    """Run all of it, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.queue_power")
    parser.add_argument("--groups", type=int, default=40, help="groups of changes")
    parser.add_argument("--states", type=int, default=20, help="random states at each call")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrong = []
    for durability in ("full", "process"):
        begun = time.monotonic()
        with scratch() as where:
            power = durability == "full"
            crashes = Crashes(where, durability, options.groups, options.seed, power)
            wrong += crashes.run(options.states)
        seconds = time.monotonic() - begun
        print(f"{durability}: {dict(crashes.counts)}, {len(wrong)} violations, {seconds:.1f} s")
    for one in wrong[:20]:
        print(one)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
