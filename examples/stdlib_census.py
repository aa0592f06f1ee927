"""Count the functions, classes and lines of Python's standard library, while workers are killed.

Run: supervisor run examples.stdlib_census:tree --chaos-kill 5
See: the same totals as `python -m examples.stdlib_census`, which counts without any processes.
"""

import argparse
import ast
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from examples.chaos_monkey import ChaosMonkey
from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer, open_queue

LIBRARY = Path(sysconfig.get_path("stdlib"))
options = argparse.ArgumentParser(prog="census", description=__doc__)
options.add_argument("--chaos-kill", type=float, default=0, metavar="N", help="kills a second")


def library() -> list[str]:
    files = (path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py"))
    return sorted(str(file) for file in files if file.parts[0] != "site-packages")


def census(file: str) -> dict:
    source = (LIBRARY / file).read_bytes()
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):  # some files of its test suite are broken on purpose
        nodes = []
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    longest = sorted(((f.end_lineno - f.lineno + 1, f"{file}:{f.name}") for f in functions))[-10:]
    classes = sum(isinstance(n, ast.ClassDef) for n in nodes)
    return {"file": file, "functions": len(functions), "classes": classes,
            "lines": source.count(b"\n"), "longest": longest}  # fmt: skip


def report(results: dict[str, dict]) -> None:
    totals = {key: sum(r[key] for r in results.values()) for key in ("functions", "classes", "lines")}
    print(f"{len(results)} files,", ", ".join(f"{n} {key}" for key, n in totals.items()))
    for lines, name in sorted((tuple(f) for r in results.values() for f in r["longest"]))[-10:]:
        print(f"{lines:6} lines  {name}")


class Walk(Producer):
    def produce(self) -> Iterator[str]:
        yield from library()


class Parse(Consumer):
    def init(self) -> None:
        self.results = open_queue("results")

    def handle(self, file: str) -> None:
        self.results.put(census(file))
        self.results.flush()  # confirmed before this message is acknowledged


class Sink(Consumer):
    def init(self) -> None:
        self.missing, self.results = set(library()), {}

    def handle(self, result: dict) -> None:
        self.results[result["file"]] = result  # a result that comes twice changes nothing
        self.missing.discard(result["file"])
        if not self.missing:
            report(self.results)
            self.finish()
