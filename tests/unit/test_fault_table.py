"""docs/faults.md names a test for every fault that was promised, and each of them exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMISED = {
    *range(1, 41), *range(43, 52), *range(53, 59), *range(60, 68), *range(69, 91),
    *range(91, 102), 110,
}  # fmt: skip
ROW = re.compile(r"^\| (\d[\d, -]*) \|.*\|(.*)\|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+)::(\w+|\*)`")


def rows() -> list[tuple[set[int], list[tuple[str, str]]]]:
    """Return the numbers of each row, and the tests that it names."""
    found = []
    for numbers, tests in ROW.findall((ROOT / "docs/faults.md").read_text()):
        faults: set[int] = set()
        for part in numbers.split(","):
            first, _, last = part.strip().partition("-")
            faults.update(range(int(first), int(last or first) + 1))
        found.append((faults, NAMED.findall(tests)))
    return found


def test_every_promised_fault_has_a_row() -> None:
    """None is left out, and each row names a test."""
    assert set().union(*(faults for faults, _ in rows())) >= PROMISED
    assert [faults for faults, tests in rows() if not tests] == []


def test_every_test_that_is_named_exists() -> None:
    """Or the table would go on promising what somebody has removed."""
    for _, tests in rows():
        for place, name in tests:
            folder, _, file = place.rpartition("/")
            path = ROOT / (folder or "tests/crash") / f"test_{file}.py"
            text = path.read_text()
            assert name == "*" or f"def test_{name}(" in text, f"{place}::{name}"
