"""Producers, consumers and a broker, killed at random; and a look at what became of the messages.

    python -m tests.crash.queue_killer [--kills 50000] [--durable process] [--seed 1]

The broker is killed only if the queue is durable: a memory queue dies with it.
"""

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from tests.crash.queue_harness import Scene
from tests.crash.queue_history import Recorder, Verdict, What, judge
from tests.crash.queue_workers import Crew
from workers import Batch, Consumer, Producer, Reject, Retry, Worker
from workers.queues.frames import Command, Hello, Kind, frame

#: Messages of a producer between two confirmations; and of its life at most.
BLOCK, LIFE = 40, 100_000
#: So many are killed at the same moment, one of them by chance.
BREATH = (1, 1, 2, 4)
#: Seconds without a handled message, after which the queue counts as wedged.
WEDGED = 20.0


def is_refused(message: tuple[int, int]) -> bool:
    """Whether every consumer rejects it, so that it has to be a dead letter: one of 4000."""
    stream, number = message
    return (stream + number) % 4000 == 100


class Fire:
    """A scene under fire.

    Args:
        where: an empty folder.
        seed: of what is killed when.
        queue: options of the queue.

    """

    def __init__(self, where: Path, seed: int, **queue: object) -> None:
        self.history = str(where / "history")
        self._stop = str(where / "stop")
        self._chance = random.Random(seed)
        self.scene = Scene(where, **{"capacity": 500, "max_attempts": 1000, **queue})
        self._durable = bool(queue.get("durable"))
        self._crew = Crew(self.scene)
        self._streams = 0
        self.kills = 0
        consumers = [self._serial, self._serial, self._threaded, self._batched]
        kinds = [*consumers, self._producer, self._producer]
        self._slots = [(kind, self._crew.start(kind())) for kind in kinds]

    def kill(self, kills: int) -> None:
        """Kill so many processes, several of them in one breath; each is replaced at once."""
        looked, size = time.monotonic(), 0
        while self.kills < kills:
            count = min(self._chance.choice(BREATH), kills - self.kills)
            select.select([], [], [], self._chance.random() * 0.006 * count)
            self._volley(count)
            now, grown = time.monotonic(), os.path.getsize(self.history)
            if grown > size:
                looked, size = now, grown
            assert now - looked < WEDGED, f"wedged: {self.scene.stat()}"

    def _volley(self, count: int) -> None:
        broker = self._durable and self._chance.random() < 0.05 * count
        numbers = self._chance.sample(range(len(self._slots)), count - broker)
        pids = [self._slots[number][1].pid for number in numbers]
        pids += [self.scene.broker] * broker
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            self.scene.kill(pid)  # nobody but us reaps it: the number is still its own
        self.kills += count
        if broker:
            self.scene.start_broker()
        for number in numbers:
            kind, victim = self._slots[number]
            victim.link.close()
            self._slots[number] = kind, self._crew.start(kind())

    def verdict(self) -> Verdict:
        """Let what is there be handled, and judge."""
        Path(self._stop).touch()
        for kind, worker in self._slots:
            if kind == self._producer:
                assert self.scene.ended(worker.pid) == 0
        self.scene.until(depth=0, leased=0)
        dead = self._dead()
        assert all(map(is_refused, dead)), "a dead letter that nobody has rejected"
        return judge(self.history, dead)

    def close(self) -> None:
        """End everything."""
        self._crew.close()
        self.scene.close()

    def _dead(self) -> set[tuple[int, int]]:
        letters: list[dict[str, bytes]] = []
        with self.scene.raw(Hello("observer")) as observer:
            while True:
                command = Command("dead_list", "q", offset=len(letters), limit=1000)
                observer.send(frame(Kind.MANAGE, msgspec.msgpack.encode(command)))
                page = msgspec.msgpack.decode(observer.expect(Kind.MANAGED)[1])["letters"]
                if not page:
                    return {tuple(msgspec.msgpack.decode(one["message"])) for one in letters}
                letters += page

    # --- workers ----------------------------------------------------------------------------------

    def _serial(self) -> type[Worker]:
        history, seed = self.history, self._chance.random()

        class Serial(Consumer):
            def init(self) -> None:
                self.recorder, self.chance = Recorder(history), random.Random(seed)

            def handle(self, message: tuple[int, int]) -> None:
                self.recorder.record(What.BEGUN, *message, self.attempt)
                if self.chance.random() < 0.05:
                    select.select([], [], [], 0.0005)
                if self.chance.random() < 0.02:
                    raise Retry(after=0.0, reason="given back")
                if is_refused(message):
                    raise Reject("refused")
                self.recorder.record(What.HANDLED, *message)

        return Serial

    def _threaded(self) -> type[Worker]:
        history = self.history

        class Threaded(Consumer):
            threads = 3

            def init(self) -> None:
                self.recorder, self.lock = Recorder(history), threading.Lock()

            def handle(self, message: tuple[int, int]) -> None:
                self.recorder.record(What.BEGUN, *message, self.attempt)
                select.select([], [], [], 0.0002)
                if is_refused(message):
                    raise Reject("refused")
                self.recorder.record(What.HANDLED, *message)

        return Threaded

    def _batched(self) -> type[Worker]:
        history = self.history

        class Batched(Consumer):
            batch = 7

            def init(self) -> None:
                self.recorder = Recorder(history)

            def handle_many(self, batch: Batch[tuple[int, int]]) -> None:
                for message, attempt in zip(batch, batch.attempts, strict=True):
                    self.recorder.record(What.BEGUN, *message, attempt)
                select.select([], [], [], 0.0002)
                for index, message in enumerate(batch):
                    if is_refused(message):
                        batch.reject(index, "refused")
                    else:
                        self.recorder.record(What.HANDLED, *message)

        return Batched

    def _producer(self) -> type[Worker]:
        self._streams += 1
        history, stop, stream = self.history, self._stop, self._streams

        class Source(Producer):
            def run(self) -> None:
                recorder = Recorder(history)
                for first in range(0, LIFE, BLOCK):
                    recorder.record(What.PUTTING, stream, first + BLOCK)
                    for number in range(first, first + BLOCK):
                        self.put((stream, number))
                    self.flush()
                    recorder.record(What.CONFIRMED, stream, first + BLOCK)
                    if os.path.exists(stop):
                        return
                    select.select([], [], [], 0.002)

        return Source


def burn(kills: int, seed: int, **queue: object) -> dict[str, Any]:
    """Kill in a scene of its own; return what has come of it."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        fire = Fire(Path(folder), seed, **queue)
        try:
            fire.kill(kills)
            verdict = fire.verdict()
            after = fire.scene.stat()
            return {
                "kills": fire.kills,
                "bytes": os.path.getsize(fire.history),
                "redelivered": after["redelivered_total"],
                "dead": after["dead"],
                **asdict(verdict),
            }
        finally:
            fire.close()


def main() -> None:
    """Kill, judge, and say so: one line of JSON for each scene."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50_000)
    parser.add_argument("--durable", choices=["", "process", "full"], default="process")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    left, seed, failed = options.kills, options.seed, False
    while left > 0:
        found = burn(min(left, 2000), seed, durable=options.durable)
        failed |= bool(found["lost"] or found["invented"] or found["repeated"])
        print(json.dumps({"seed": seed, **found}), flush=True)
        left, seed = left - found["kills"], seed + 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
