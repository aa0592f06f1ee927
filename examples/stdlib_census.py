"""Count the functions, classes and lines of Python's standard library while workers are killed.

Run: supervisor run examples.stdlib_census:tree --chaos-kill 5
See: the same totals as `python -m examples.stdlib_census`, which counts without any worker.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from examples.census import census, library, report
from examples.chaos_monkey import ChaosMonkey
from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer, open_queue


class Walk(Producer):
    def produce(self) -> Iterator[str]:
        slot = int(self.link.context.path.rpartition(".")[2])
        yield from library()[slot::2]


class Parse(Consumer):
    def init(self) -> None:
        self.results = open_queue("results")

    def handle(self, file: str) -> None:
        self.results.put(census(file))
        self.results.flush()  # the result is in the queue before this message is acknowledged


class Sink(Consumer):
    def init(self) -> None:
        self.missing, self.results = set(library()), dict[str, Any]()

    def handle(self, result: dict[str, Any]) -> None:
        self.results[result["file"]] = result  # one that comes twice changes nothing
        self.missing.discard(result["file"])
        if not self.missing:
            print(report(self.results), flush=True)
            self.finish()


options = argparse.ArgumentParser(prog="stdlib_census")
options.add_argument("--chaos-kill", type=float, default=0, metavar="N", help="kills a second")
kills = options.parse_known_args()[0].chaos_kill
# No file is at fault when the monkey kills who reads it: however often, it is tried again.
files = Queue("files", capacity=200, max_attempts=10_000)
results = Queue("results", capacity=200)
monkey = [Child("monkey", ChaosMonkey, args=("census/work/parse", kills))] if kills else []
tree = Supervisor("census", strategy="rest_for_one", auto_shutdown="any_significant",
    queues=[files, results], children=[
        Child("sink", Sink, queue=results, restart="transient", significant=True),
        Supervisor("work", intensity=1000, children=[
            Child("parse", Parse, queue=files, count=4),
            Child("walk", Walk, queue=files, count=2, restart="transient"), *monkey])],
)  # fmt: skip

if __name__ == "__main__":
    print(report({file: census(file) for file in library()}))
