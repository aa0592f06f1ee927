"""How fast logs are captured, wrapped, and written as records, beside peers in the same run.

    python -m bench.logs [--quick] [--json]

A writer writes lines of 200 bytes, each with a system call of its own, or in blocks; what captures
them rotates files of 10 MB. supervisord and circus run from an environment of their own, which is
installed at the first run; s6-log is measured where it is installed.
"""

import argparse
from statistics import median

from bench.figures import Figures, finish, p50, table
from bench.log_capture import Outcome, capture, contestants
from bench.log_records import lost_by_kills, ours, plain

#: Lines of one run, by how they are written; circus gets a fifth.
LINES = {"line": 2_000_000, "block": 4_000_000}
RECORDS = 200_000
FORMS = ("line", "block")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, a quarter of the lines")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    rounds, part = (1, 4) if options.quick else (3, 1)
    figures = captures(rounds, part) | records(rounds, part)
    finish(figures, options.json)


def captures(rounds: int, part: int) -> Figures:
    """Measure the capture of lines."""
    runners = contestants()
    found: dict[tuple[str, str], list[Outcome]] = {}
    for _ in range(rounds):
        for form in FORMS:
            for name, runner in runners.items():
                count = LINES[form] // part // (5 if name == "circus" else 1)
                found.setdefault((name, form), []).append(capture(runner, count, form))
    rate = {key: p50([one.rate for one in runs]) for key, runs in found.items()}
    cpu = {key: p50([one.cpu for one in runs]) for key, runs in found.items()}
    rows = [
        [name, form, round(rate[name, form]), cpu[name, form],
         max(one.lost for one in found[name, form])]
        for form in FORMS for name in runners
    ]  # fmt: skip
    print(table(["capture", "written", "lines/s", "CPU s / 1 M lines", "lost"], rows))
    if "s6-log" not in runners:
        print("\ns6-log is not installed and was not measured.")
    figures: Figures = {}
    for form in FORMS:
        figures |= {
            f"raw_{form}_lines_s": rate["ours, raw", form],
            f"raw_{form}_over_supervisord": _over(found, "ours, raw", "supervisord", form),
            f"raw_{form}_cpu_over_supervisord": cpu["ours, raw", form] / cpu["supervisord", form],
            f"json_{form}_lines_s": rate["ours, JSON", form],
            f"json_{form}_over_circus": _over(found, "ours, JSON", "circus", form),
            f"compressed_{form}_over_not": _over(
                found, "ours, JSON, compressed", "ours, JSON", form
            ),
            f"lost_{form}": max(
                one.lost for name in runners if name.startswith("ours") for one in found[name, form]
            ),
        }
        if "s6-log" in runners:
            figures[f"raw_{form}_over_s6"] = _over(found, "ours, raw", "s6-log", form)
    return figures


def _over(found: dict[tuple[str, str], list[Outcome]], one: str, other: str, form: str) -> float:
    """Compare runs of the same round, for rounds differ more than contestants."""
    pairs = zip(found[one, form], found[other, form], strict=True)
    return median(a.rate / b.rate for a, b in pairs)


def records(rounds: int, part: int) -> Figures:
    """Measure structured records."""
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for workers in (1, 4):
            count = RECORDS // part // workers
            found.setdefault(("ours", workers), []).append(ours(workers, count))
            for shared in (False, True):
                name = "multiprocessing-logging" if shared else "a file for each process"
                found.setdefault((name, workers), []).append(plain(workers, count, shared=shared))
    names = ("ours", "a file for each process", "multiprocessing-logging")
    rows = [[name, n, round(p50(found[name, n]))] for n in (1, 4) for name in names]
    print()
    print(table(["records", "workers", "records/s"], rows))
    written, lost = lost_by_kills(4, 5 if part > 1 else 20)
    print(f"\n{written} records were written before SIGKILLs; {lost} of them are missing.")
    figures: Figures = {"killed_written": written, "killed_lost": lost}
    for workers in (1, 4):
        mine = found["ours", workers]
        for name, key in zip(names[1:], ("file", "mp_logging"), strict=True):
            ratios = [a / b for a, b in zip(mine, found[name, workers], strict=True)]
            figures[f"records_{workers}_over_{key}"] = median(ratios)
        figures[f"records_{workers}_s"] = p50(mine)
    return figures


if __name__ == "__main__":
    main()
