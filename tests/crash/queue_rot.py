"""Bits that flip, pages that vanish, files that end early: is what they took reported?

Run: python -m tests.crash.queue_rot [--runs 3000] [--seed 1]
Each run writes a queue, kills nobody but copies its files as a crash would leave them, damages one
of them, and opens it. What is missing then has to be in a range of ids that is reported; what is
there has to be what was written. A file that says that a later version wrote it is refused.
"""

import argparse
import random
import shutil
import time
from collections import Counter
from pathlib import Path

from tests.conformance.store_cases import Writer, held
from tests.crash.disk import scratch
from workers.queues.store.contract import MemoryStore, Recovered, StoreTooNew
from workers.queues.store.sqlite.store import SqliteStore

GROUPS = 40
PAGE = 4096
KINDS = ("bit", "bit", "page", "end")
#: Where a file says of which version of the package it is.
VERSION = range(60, 64)


class Rot:
    """Runs of one seed.

    Args:
        where: a folder for its files.
        seed: of what is written, and of what is damaged.

    """

    def __init__(self, where: Path, seed: int) -> None:
        self._where, self._chance = where, random.Random(seed)
        self.counts: Counter[str] = Counter()

    def run(self) -> str:
        """Damage one queue; return what is wrong with the report, if anything is."""
        left, model = self._left()
        file = self._chance.choice([p for p in left.glob("queue-*") if p.stat().st_size])
        kind = self._chance.choice(KINDS)
        at = _damage(file, kind, self._chance)
        damaged = file.read_bytes()
        try:
            store = SqliteStore(str(left), "process", PAGE)
        except StoreTooNew:  # it may be: so it is refused, in so many words, and left as it is
            self.counts["refused"] += 1
            right = at in VERSION and kind == "bit" and file.read_bytes() == damaged
            return "" if right else f"{kind} of {file.name} at {at}: taken for a later version's"
        found = store.recover()
        store.close()
        wrong = _judge(found, model)
        self.counts["runs"] += 1
        self.counts["reported"] += bool(found.damage)
        self.counts["messages lost"] += _messages(model) - _messages(found)
        if wrong:
            return f"{kind} of {file.name} at {at}: {wrong}; reported: {found.damage}"
        return _again(left, found)

    def _left(self) -> tuple[Path, Recovered]:
        """Write a queue, and leave it as a crash would, or as an orderly end does."""
        folder, left = self._where / "q", self._where / "left"
        for old in (folder, left):
            shutil.rmtree(old, ignore_errors=True)
        store, model = SqliteStore(str(folder), "process", PAGE), MemoryStore()
        writer = Writer(self._chance.randrange(1 << 30))
        for _ in range(GROUPS):
            group = writer.group(size=2000)
            store.write(group)
            model.write(group)
            if self._chance.random() < 0.03:
                store.tend()
        if self._chance.random() < 0.5:
            store.close()
            shutil.copytree(folder, left)
        else:
            shutil.copytree(folder, left)
            store.close()
        return left, model.recover()


def _damage(file: Path, kind: str, chance: random.Random) -> int:
    data = bytearray(file.read_bytes())
    at = chance.randrange(len(data))
    if kind == "bit":
        data[at] ^= 1 << chance.randrange(8)
    elif kind == "page":
        at = at // PAGE * PAGE
        data[at : at + PAGE] = bytes(len(data[at : at + PAGE]))
    else:
        del data[at:]
    file.write_bytes(data)
    return at


def _judge(found: Recovered, model: Recovered) -> str:
    """Say what is wrong: a message that is not what was put, or is missing without a word."""
    there = {chunk.id: chunk for chunk in found.chunks}
    was = {chunk.id: chunk for chunk in model.chunks}
    told = [range(one.first, one.last + 1) for one in found.damage if one.last]
    spoilt = {one.what.split()[2] for one in found.damage if one.what.startswith("the chunk ")}
    for id, chunk in was.items():  # noqa: A001
        if id not in there:
            if str(id) not in spoilt and not any(id in ids for ids in told):
                return f"chunk {id} is missing, and nothing says so"
        elif (there[id].body, there[id].count) != (chunk.body, chunk.count):
            return f"chunk {id} is not what was put"
        elif there[id].done > chunk.done:
            return f"messages of chunk {id} are called done that are not"
    if not found.damage and held(found) != held(model):
        return "it is not what it was, and nothing says so"
    return ""


def _again(left: Path, found: Recovered) -> str:
    """Open it once more: nothing more is lost, and the report is still there."""
    store = SqliteStore(str(left), "process", PAGE)
    again = store.recover()
    store.close()
    if held(again) != held(found):
        return "it is something else when it is opened again"
    if again.damage != found.damage:
        return f"the report was {found.damage}, and is {again.damage}"
    return ""


def _messages(recovered: Recovered) -> int:
    return sum(chunk.left for chunk in recovered.chunks)


def main() -> None:
    """Run all, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.queue_rot")
    parser.add_argument("--runs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.monotonic()
    with scratch() as where:
        rot = Rot(where, options.seed)
        wrong = [found for _ in range(options.runs) if (found := rot.run())]
    print(f"{dict(rot.counts)}, {len(wrong)} violations, {time.monotonic() - begun:.1f} s")
    for one in wrong[:20]:
        print(one)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
