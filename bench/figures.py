"""Figures: medians and percentiles, a table for people, one flat JSON line for programs."""

import argparse
import json
import statistics
from collections.abc import Sequence

Figures = dict[str, float | int | str]


def counted(doc: str | None, count: int) -> tuple[int, int, bool]:
    """Read the arguments of a bench over N workers: (N, rounds, whether to end with JSON)."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("count", type=int, nargs="?", default=count)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    return options.count, 1 if options.quick else 3, options.json


def p50(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """The 99th percentile: the largest value when there are fewer than 100."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_shown(cell) for cell in line) + " |" for line in lines)


def finish(figures: Figures, as_json: bool) -> None:
    """Print the JSON line, if it is wanted, as the last line."""
    if as_json:
        print(
            json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()})
        )


def _shown(cell: object) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
