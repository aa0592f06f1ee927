"""N workers started: from the start of the tree until each has run its first line.

    python -m bench.start [N] [--quick] [--json]

The floor is N forks in a row in one preloaded process. `whole` is the command as a user sees it:
it includes starting Python three times (root and two templates) and importing the app.
"""

import time

from bench import runners
from bench.figures import Figures, counted, finish, p50, table
from bench.reports import Reports
from bench.storm import floor, span


def start(count: int) -> tuple[float, float]:
    """Milliseconds from the first first line to the last, and from the command to the last."""
    began = time.monotonic_ns()
    with Reports() as reports, runners.ours(reports, count):
        lines = reports.take(count)
    return span(lines), (max(ran for _, ran in lines) - began) / 1e6


def main() -> None:
    """Measure and print."""
    count, rounds, as_json = counted(__doc__, 1000)
    floors, starts, wholes = [], [], []
    for _ in range(rounds):
        floors.append(floor(count))
        took, whole = start(count)
        starts.append(took)
        wholes.append(whole)
    figures: Figures = {
        "count": count,
        "floor_ms": p50(floors),
        "start_ms": p50(starts),
        "start_over_floor": p50(starts) / p50(floors),
        "whole_ms": p50(wholes),
    }
    print(
        table(["workers", "floor ms", "start ms", "x floor", "whole ms"], [list(figures.values())])
    )
    finish(figures, as_json)


if __name__ == "__main__":
    main()
