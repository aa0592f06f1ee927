"""Logs in health: warnings for what is lost lately, and for files that cannot be written."""

import msgspec
import pytest

from supervisor.logs.figures import ChildFigures, Figures
from supervisor.observe.logged import DROPPED_WARN, checks, section

NOW = 1_000_000.0
GOOD = Figures(NOW - 2, NOW - 60, {"shop/web": ChildFigures(10, 1000)}, used=90, budget=100)
LOST = {"shop/web": ChildFigures(10, 1000, 1), "shop/pay": ChildFigures(5, 500, 7)}


@pytest.mark.parametrize(
    ("change", "dropped", "files"),
    [
        ({}, "pass", "pass"),
        ({"used": 100}, "pass", "pass"),
        ({"failing": True}, "pass", "warn"),
        ({"children": LOST, "dropped_at": NOW - DROPPED_WARN + 1}, "warn", "pass"),
        ({"children": LOST, "dropped_at": NOW - DROPPED_WARN - 1}, "pass", "pass"),
    ],
)
def test_checks(change: dict[str, object], dropped: str, files: str) -> None:
    """Full files are the usual state; lost lines are a warning for a while."""
    found = checks(msgspec.structs.replace(GOOD, **change), NOW, None)
    assert found["logs:dropped"][0]["status"] == dropped
    assert found["logs:utilization"][0]["status"] == files
    if dropped == "warn":
        assert "shop/pay: 7" in found["logs:dropped"][0]["output"]


def test_without_files_there_is_no_budget_and_without_a_pump_nothing() -> None:
    """What is not known is left out, or null."""
    printed = msgspec.structs.replace(GOOD, used=None, budget=None)
    assert checks(printed, NOW, None).keys() == {"logs:dropped"}
    assert checks(None, NOW, None) == {}
    assert section(None, NOW) is None


def test_the_section_has_units_and_children() -> None:
    """Lines, bytes and losses by child; bytes on disk against the budget."""
    assert section(GOOD, NOW) == {
        "age_seconds": 2.0,
        "counted_seconds": 58.0,
        "disk_bytes": 90,
        "budget_bytes": 100,
        "children": {"shop/web": {"lines": 10, "bytes": 1000, "dropped_lines": 0}},
    }
