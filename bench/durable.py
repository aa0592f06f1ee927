"""Durable queues beside SQLite itself, with the same batches, each synced before it is answered.

    python -m bench.durable [--quick] [--json] [--rounds N]

Ours: one producer with `put_many(100)`, the broker, one consumer with `handle_many`; every message
acknowledged, every write of the broker synced (``durable="full"``). SQLite: one process that writes
100 rows in a transaction and deletes 100 in the next one, in a log that is synced at each commit
(WAL, synchronous=FULL): no other process, no checksums, nothing that notices a lost end.

Redis Streams, where redis-server and redis-py are installed: a server, a producer, a consumer, and
``appendfsync always``, so that an XADD is answered when it is on disk, as a put is confirmed. One
at a time is not the same for both, and there are two rows for it: `put` of ours goes on before the
confirmation comes, so that what comes meanwhile is synced together, and `flush` tells when all is
kept; ``put(confirm=True)`` waits for each one's sync, as XADD does.
The contestants take turns; ratios are of one round, and medians of those.
"""

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable

from bench.figures import Figures, finish, p50, p99, table
from bench.queue_race import latencies, race
from bench.queue_redis import Redis, have_redis
from bench.queue_transports import BATCH, Ours

PAYLOADS = {"100b": b"x" * 100, "1k": b"x" * 1024}
MESSAGES = 40_000
ONE_BY_ONE = 2_000

Contest = Callable[[bytes, int], float]


def ours(durable: str, batch: int, confirm: bool = False) -> Contest:
    """Messages a second through a durable queue."""

    def run(payload: bytes, count: int) -> float:
        return race(Ours(batch, confirm, durable=durable), payload, count, 1).rate

    return run


def redis(batch: int) -> Contest:
    """Messages a second through a stream."""
    return lambda payload, count: race(Redis(batch), payload, count, 1).rate


def sqlite(batch: int, delete: bool) -> Contest:
    """Messages a second that one process writes, and deletes."""

    def run(payload: bytes, count: int) -> float:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            connection = sqlite3.connect(os.path.join(folder, "raw.db"), isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB)")
            begun = time.perf_counter()
            for first in range(0, count, batch):
                numbers = range(first, first + batch)
                connection.execute("BEGIN IMMEDIATE")
                rows = [(number, payload) for number in numbers]
                connection.executemany("INSERT INTO message VALUES (?, ?)", rows)
                connection.execute("COMMIT")
                if delete:
                    connection.execute("BEGIN IMMEDIATE")
                    ids = [(number,) for number in numbers]
                    connection.executemany("DELETE FROM message WHERE id = ?", ids)
                    connection.execute("COMMIT")
            seconds = time.perf_counter() - begun
            connection.close()
        return count / seconds

    return run


CONTESTS: dict[str, tuple[str, Contest, int]] = {
    "full": ("ours, full, put_many(100)", ours("full", BATCH), MESSAGES),
    "process": ("ours, process, put_many(100)", ours("process", BATCH), MESSAGES),
    "single": ("ours, full, put one at a time", ours("full", 1), MESSAGES),
    "confirmed": ("ours, full, put(confirm=True)", ours("full", 1, True), ONE_BY_ONE),
    "sqlite": ("SQLite, 100 rows, then 100 deleted", sqlite(BATCH, True), MESSAGES),
    "sqlite_insert": ("SQLite, 100 rows, never deleted", sqlite(BATCH, False), MESSAGES),
    "sqlite_single": ("SQLite, 1 row, then 1 deleted", sqlite(1, True), ONE_BY_ONE),
}
REDIS: dict[str, tuple[str, Contest, int]] = {
    "redis": ("Redis Streams, XADD one at a time", redis(1), ONE_BY_ONE),
    "redis_batch": ("Redis Streams, pipelines of 100", redis(BATCH), MESSAGES),
}


def measure(rounds: int, share: float) -> dict[str, dict[str, list[float]]]:
    """Let all contestants take turns; return messages a second by payload and contestant."""
    found: dict[str, dict[str, list[float]]] = {
        payload: {name: [] for name in CONTESTS} for payload in PAYLOADS
    }
    for _ in range(rounds):
        for payload, message in PAYLOADS.items():
            for name, (_, contest, count) in CONTESTS.items():
                batches = max(1, int(count * share) // BATCH)
                found[payload][name].append(contest(message, batches * BATCH))
    return found


def ratio(rates: dict[str, list[float]], one: str, other: str) -> float:
    """The median over the rounds of one contestant's rate to another's."""
    pairs = zip(rates[one], rates[other], strict=True)
    return statistics.median(a / b for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.durable")
    parser.add_argument("--quick", action="store_true", help="fewer messages, and three rounds")
    parser.add_argument("--json", action="store_true", help="a line of JSON in the end")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 7)
    if have_redis():
        CONTESTS.update(REDIS)
    found = measure(rounds, 0.25 if options.quick else 1.0)
    figures: Figures = {}
    rows = []
    for name, (text, _, _) in CONTESTS.items():
        row: list[object] = [text]
        for payload, rates in found.items():
            middle = statistics.median(rates[name])
            figures[f"{name}_{payload}_per_s"] = middle
            row += [f"{middle:,.0f}", f"{ratio(rates, name, 'sqlite'):.2f}"]
        rows.append(row)
    print(table(["messages a second", "100 B", "to SQLite", "1 KiB", "to SQLite"], rows))
    for payload, rates in found.items():
        figures[f"durable_{payload}_over_sqlite"] = ratio(rates, "full", "sqlite")
        figures[f"durable_{payload}_over_sqlite_insert"] = ratio(rates, "full", "sqlite_insert")
        single = ratio(rates, "single", "sqlite_single")
        figures[f"durable_single_{payload}_over_sqlite_single"] = single
        if "redis" in rates:
            for name, peer in (
                ("single", "redis"),
                ("confirmed", "redis"),
                ("full", "redis_batch"),
            ):
                figures[f"durable_{name}_{payload}_over_{peer}"] = ratio(rates, name, peer)
    print("\n" + latency(figures, options.quick))
    if "redis" in CONTESTS:
        names = [name for name in figures if "_over_redis" in name]
        print("\n" + table(["to Redis Streams", "x"], [[name, figures[name]] for name in names]))
    else:
        print("\nRedis Streams: not measured, there is no redis-server or redis-py here.")
    finish(figures, options.json)


def latency(figures: Figures, quick: bool) -> str:
    """Measure from put to handle, at 1000 messages a second."""
    rows = []
    for durable in ("full", "process"):
        found = latencies(Ours(1, durable=durable), PAYLOADS["1k"], 1000, 1000 if quick else 3000)
        figures[f"latency_{durable}_p50_us"], figures[f"latency_{durable}_p99_us"] = (
            p50(found),
            p99(found),
        )
        rows.append([f"ours, {durable}", f"{p50(found):.0f}", f"{p99(found):.0f}"])
    return table(["put to handle, at 1000/s, 1 KiB, µs", "p50", "p99"], rows)


if __name__ == "__main__":
    main()
