"""Queues under a killer: what is lost, and what hangs, when processes get SIGKILL.

    python -m bench.crash_peers [--quick] [--json] [--rounds N]

A producer puts numbers as fast as it can; three consumers handle them. Every few milliseconds one
of them, at random, is killed, and another one started, once something was handled since the last
kill. A round is over after so many kills; or when nothing was handled for three seconds though
there is something to handle: then it hangs, for ever, and what is in the queue is stuck.
In the end the producer stops, and what is left is handled. The same killer, with the same seed, for
all. (ProcessPoolExecutor starts its workers itself; after the first kill it is broken by design.)
"""

import argparse
import fcntl
import os
import random
import select
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field

from bench.crash_contestants import (
    BROKEN,
    CONSUMERS,
    CONTESTANTS,
    HANDLED,
    PUT,
    RECORD,
    Contestant,
)
from bench.figures import Figures, finish, table

#: Seconds without a message handled after which a round hangs, and after which it is empty.
HANGS, EMPTY = 3.0, 1.0
#: Seconds of a round at most.
ROUND = 40.0
#: Seconds between two kills, on average; at least a third of that.
PAUSE = 0.012
HEAD = [
    "queue", "hangs", "kills until then", "messages put", "lost or stuck", "handled twice", "dead",
]  # fmt: skip


@dataclass
class Round:
    """What became of one round. ``repeated``: handled more than once."""

    kills: int = 0
    put: int = 0
    handled: set[int] = field(default_factory=set)
    repeated: int = 0
    hung: bool = False
    broken: bool = False
    dead: int = 0

    @property
    def lost(self) -> int:
        """Messages that were put and never handled, nor reported as given up."""
        return max(0, self.put - len(self.handled) - self.dead)


class Stage:
    """The processes of one round, and what they report."""

    def __init__(self, kind: type[Contestant], seed: int) -> None:
        self._read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._write = write
        self.round = Round()
        self._rest = b""
        self._last = time.monotonic()  # when a message was handled
        self._killed = 0.0
        self._chance = random.Random(seed)
        self._contestant = kind(write)
        self._contestant.open()
        self._consumers = [pid for _ in range(CONSUMERS) if (pid := self._contestant.consumer())]
        self._producer = self._contestant.producer()

    def run(self, kills: int) -> Round:
        deadline = time.monotonic() + ROUND
        try:
            while self.round.kills < kills and self._goes_on(deadline):
                self._take(self._chance.uniform(PAUSE / 3, PAUSE * 5 / 3))
                if self._last > self._killed:  # it has got over the last one
                    self._kill()
            if not self.round.hung and not self.round.broken:
                self._wind_up(deadline)
        finally:
            self._end()
        return self.round

    def _goes_on(self, deadline: float) -> bool:
        silent = time.monotonic() - self._last
        self.round.hung = silent > HANGS or time.monotonic() > deadline
        return not (self.round.hung or self.round.broken)

    def _kill(self) -> None:
        """Kill one process, and start another in its place."""
        targets = [*self._consumers, *self._contestant.others()] or _children(self._producer)
        if not targets:
            return
        pid = self._chance.choice(targets)
        os.kill(pid, signal.SIGKILL)
        self.round.kills += 1
        self._killed = time.monotonic()
        if pid in self._consumers:
            os.waitpid(pid, 0)
            self._consumers.remove(pid)
            self._consumers.append(self._contestant.consumer())
        elif pid in self._contestant.others():
            os.waitpid(pid, 0)
            self._contestant.replaced(pid)

    def _wind_up(self, deadline: float) -> None:
        """Let the producer end, and what is left be handled."""
        os.kill(self._producer, signal.SIGTERM)
        ended = False
        while not (ended and time.monotonic() - self._last > EMPTY) and self._goes_on(deadline):
            self._take(0.05)
            ended = ended or os.waitpid(self._producer, os.WNOHANG)[0] == self._producer
        if ended:
            self._producer = 0
            self.round.hung = False  # it is silent because it is empty, or will be for ever
            self.round.dead = self._contestant.dead()

    def _take(self, seconds: float) -> None:
        """Read reports for some time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._read], [], [], left)[0]:
                return
            data = self._rest + os.read(self._read, 1 << 18)
            whole = len(data) // RECORD.size * RECORD.size
            self._rest = data[whole:]
            for kind, number in RECORD.iter_unpack(data[:whole]):
                self._note(kind, number)

    def _note(self, kind: bytes, number: int) -> None:
        if kind == PUT:
            self.round.put += 1
        elif kind == BROKEN:
            self.round.broken = True
        elif kind == HANDLED:
            self._last = time.monotonic()
            self.round.repeated += number in self.round.handled
            self.round.handled.add(number)

    def _end(self) -> None:
        """End every process of the round, by its pid."""
        grandchildren = _children(self._producer)
        for pid in [*self._consumers, *filter(None, [self._producer])]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for pid in grandchildren:  # of a pool; they may end by themselves now
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._contestant.close()
        os.close(self._read)
        os.close(self._write)


def _children(pid: int) -> list[int]:
    if not pid:
        return []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as listing:
            return [int(child) for child in listing.read().split()]
    except OSError:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.crash_peers")
    parser.add_argument("--quick", action="store_true", help="fewer kills, and two rounds")
    parser.add_argument("--json", action="store_true", help="a line of JSON in the end")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    rounds, kills = options.rounds or (2 if options.quick else 5), 40 if options.quick else 100
    figures: Figures = {}
    rows = []
    for name, kind in CONTESTANTS.items():
        found = []
        for seed in range(rounds):
            print(f"{name}: round {seed + 1} of {rounds}", file=sys.stderr, flush=True)
            found.append(Stage(kind, seed).run(kills))
        rows.append([name, *_row(found)])
        key = "".join(c if c.isalnum() else "_" for c in name.lower())
        for field_name in ("kills", "put", "lost", "repeated", "dead"):
            figures[f"{key}_{field_name}"] = sum(int(getattr(one, field_name)) for one in found)
        figures[f"{key}_hung"] = sum(one.hung for one in found)
        figures[f"{key}_broken"] = sum(one.broken for one in found)
    head = [
        "queue",
        "hangs",
        "kills until then",
        "messages put",
        "lost or stuck",
        "handled twice",
        "dead",
    ]
    print(table(head, rows))
    finish(figures, options.json)


def _row(found: list[Round]) -> list[object]:
    ended = [one for one in found if one.hung or one.broken]
    word = "breaks" if any(one.broken for one in found) else "hangs"
    return [
        f"{word} in {len(ended)} of {len(found)}" if ended else f"never in {len(found)}",
        f"{statistics.median(one.kills for one in ended):.0f}" if ended
        else f"none of {sum(one.kills for one in found)}",
        f"{sum(one.put for one in found):,}",
        f"{sum(one.lost for one in found):,}",
        sum(one.repeated for one in found),
        sum(one.dead for one in found),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
