"""Messages a second and latency of the queues, beside their peers.

    python -m bench.queue [--quick] [--json] [--rounds N]

One producer, one or more consumers, processes all. The contestants take turns, round after round,
so that a slow spell of the machine meets them all; ratios are of one round, and medians of those.
Every message of ours is acknowledged by the broker's books, and the books are checked after each
run; multiprocessing's queues and pyzmq's PUSH/PULL acknowledge nothing.

"CPU us" is the processor time of all processes for a message, which says what a queue costs on a
busy machine too; "in the middle" is the part of the broker, or the relay.

"one at a time" is `put(message)` and `handle(message)`; "batches" is `put_many` and `handle_many`
with 100 messages. Payloads: bytes, and a dict of an order.
"""

import argparse
import multiprocessing
import statistics
from collections.abc import Callable
from typing import Any

from bench.figures import Figures, finish, p50, p99, table
from bench.queue_race import Run, latencies, race
from bench.queue_transports import BATCH, CAPACITY, Ours, Peer, Relay, Transport, Zmq

ORDER = {
    "id": 123456,
    "customer": "c-99881",
    "lines": [{"sku": "A-1", "count": 2, "price": 12.5}, {"sku": "B-7", "count": 1, "price": 3.0}],
    "paid": True,
    "note": None,
}
PAYLOADS: dict[str, Any] = {
    "100b": b"x" * 100,
    "1k": b"x" * 1024,
    "dict": ORDER,
    "64k": b"x" * (64 << 10),
    "1m": b"x" * (1 << 20),
}
SMALL, LARGE = ("100b", "1k", "dict"), ("64k", "1m")
#: Messages of a run: about a quarter of a second each; of the fast contestants three times more.
MESSAGES = {"100b": 40_000, "1k": 40_000, "dict": 40_000, "64k": 4_000, "1m": 200}
FAST = 3

_fork = multiprocessing.get_context("fork")
CONTESTANTS: dict[str, Callable[[], Transport]] = {
    "single": Ours,
    "batch": lambda: Ours(BATCH),
    "mpq": lambda: Peer(lambda: _fork.Queue(CAPACITY)),
    "simple": lambda: Peer(_fork.SimpleQueue),
    "zmq": Zmq,
    "relay1": lambda: Relay(1),
    "relay32": lambda: Relay(32),
}
OURS = ("single", "batch")
FLOORS = ("relay1", "relay32")
NAMES = {
    "single": "ours, one at a time",
    "batch": "ours, batches",
    "mpq": f"multiprocessing.Queue({CAPACITY})",
    "simple": "multiprocessing.SimpleQueue",
    "zmq": "pyzmq PUSH/PULL",
    "relay1": "floor: relay, chunks of 1",
    "relay32": "floor: relay, chunks of 32",
}


def rounds_of(
    names: list[str], payload: str, consumers: int, rounds: int, scale: float
) -> dict[str, list[Run]]:
    """Let contestants take turns."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            count = MESSAGES[payload] * (FAST if name in OURS and payload in SMALL else 1)
            run = race(CONTESTANTS[name](), PAYLOADS[payload], int(count * scale), consumers)
            runs[name].append(run)
    return runs


def ratio(runs: dict[str, list[Run]], name: str, peer: str) -> float:
    """How much faster, in the median round."""
    return statistics.median(
        one.rate / other.rate for one, other in zip(runs[name], runs[peer], strict=True)
    )


def throughput(plan: list[tuple[str, int, int, list[str]]], scale: float) -> Figures:
    """Run a plan of (payload, consumers, rounds, contestants); print a table."""
    figures: Figures = {}
    rows: list[list[object]] = []
    for payload, consumers, rounds, names in plan:
        shape = f"{payload}_1p{consumers}c"
        runs = rounds_of(names, payload, consumers, rounds, scale)
        for name in names:
            rate = statistics.median(run.rate for run in runs[name])
            cpu = statistics.median(run.cpu_us for run in runs[name])
            figures[f"{name}_{shape}_per_s"] = round(rate)
            peers = ("mpq", "simple", "zmq")
            ratios = [ratio(runs, name, peer) if peer in names else "-" for peer in peers]
            all_cpu = statistics.median(run.all_cpu_us for run in runs[name])
            figures[f"{name}_{shape}_cpu_us"] = all_cpu
            rows.append([shape, NAMES[name], f"{rate:,.0f}", *ratios, all_cpu, cpu or "-"])
            if cpu:
                figures[f"{name}_{shape}_broker_us"] = cpu
            if name in (*OURS, *FLOORS):
                for peer in ("mpq", "simple", "zmq"):
                    if peer in names:
                        figures[f"{name}_{shape}_over_{peer}"] = ratio(runs, name, peer)
    head = ["shape", "who", "messages/s", "x mp.Queue", "x SimpleQueue", "x pyzmq", "CPU us"]
    head.append("in the middle")
    print(table(head, rows))
    return figures


def latency(rounds: int, seconds: float, rate: float = 1000.0) -> Figures:
    """Latency at a steady rate; percentiles of each round, their medians and median ratios.

    The relay says what two hops cost that do nothing: no broker in the middle can be faster.
    """
    names = ["single", "mpq", "simple", "relay1"]
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            delays = latencies(CONTESTANTS[name](), b"x" * 1024, rate, int(rate * seconds))
            found[name].append(delays)
    figures: Figures = {}
    rows: dict[str, list[object]] = {name: [NAMES[name]] for name in names}
    for label, percentile in (("p50", p50), ("p99", p99)):
        each = {name: [percentile(delays) for delays in found[name]] for name in names}
        for name in names:
            figures[f"{name}_latency_{label}_us"] = statistics.median(each[name])
            to_mpq = statistics.median(
                one / other for one, other in zip(each[name], each["mpq"], strict=True)
            )
            figures[f"{name}_latency_{label}_over_mpq"] = to_mpq
            rows[name] += [figures[f"{name}_latency_{label}_us"], to_mpq]
        figures[f"latency_{label}_over_mpq"] = figures[f"single_latency_{label}_over_mpq"]
    head = [f"latency at {rate:.0f} messages/s", "p50 us", "x mp.Queue", "p99 us", "x mp.Queue"]
    print(table(head, list(rows.values())))
    return figures


def plan_of(quick: bool, rounds: int, zmq: bool) -> list[tuple[str, int, int, list[str]]]:
    """What is run: (payload, consumers, rounds, contestants)."""
    peers = ["mpq", "simple", *(["zmq"] if zmq else [])]
    few = max(1, rounds // 2)
    plan = [("1k", 1, rounds, [*OURS, *peers, *FLOORS])]
    plan += [("1k", consumers, rounds, ["single", *peers[:2]]) for consumers in (4, 16)]
    if quick:
        plan += [(p, c, few, ["single", "mpq"]) for p in ("100b", "dict") for c in (1, 4)]
        return plan + [(p, 1, rounds, ["single", "mpq", "relay1"]) for p in LARGE]
    plan += [(p, 1, rounds, [*OURS, *peers]) for p in ("100b", "dict")]
    plan += [(p, 4, rounds, [*OURS, *peers[:2]]) for p in ("100b", "dict")]
    for payload in LARGE:
        plan.append((payload, 1, rounds, ["single", *peers, "relay1"]))
        plan.append((payload, 4, rounds, ["single", *peers[:2]]))
    return plan


def spread(figures: Figures) -> None:
    """Say how more consumers compare with one."""
    one = figures["single_1k_1p1c_per_s"]
    for consumers in (4, 16):
        many = figures[f"single_1k_1p{consumers}c_per_s"]
        figures[f"consumers_{consumers}_over_1"] = share = float(many) / float(one)
        print(f"{consumers} consumers: {share:.2f} x the messages/s of one")


def have_zmq() -> bool:
    """Whether pyzmq is installed."""
    try:
        import zmq  # noqa: F401
    except ImportError:
        return False
    return True


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main shapes, at most 40 s")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, help="rounds (default 7; quick: 5)")
    options = parser.parse_args()
    rounds = options.rounds or (5 if options.quick else 7)
    zmq = have_zmq()
    if not zmq:
        print("pyzmq is not installed: left out (pip install pyzmq)\n")
    figures = throughput(plan_of(options.quick, rounds, zmq), 0.5 if options.quick else 1.0)
    print()
    figures |= latency(3 if options.quick else 5, 0.5 if options.quick else 2.0)
    print()
    spread(figures)
    finish(figures, options.json)


if __name__ == "__main__":
    main()
