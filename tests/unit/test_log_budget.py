"""What log files may take: sizes, shares, who is deleted first, who is too old."""

import pytest

from supervisor.logs import budget
from supervisor.logs.budget import GiB, Holdings, KiB, Limits, MiB

Archive = budget.Archive


def held(active: int, *sizes: int) -> Holdings:
    """Make holdings with archives of these sizes, oldest first."""
    return Holdings(active, [Archive(f"@{n}.u", n + 1, size) for n, size in enumerate(sizes)])


@pytest.mark.parametrize(
    ("fs_size", "most", "floor"),
    [(1 * GiB, GiB // 10, GiB * 15 // 100), (1000 * GiB, 1 * GiB, 4 * GiB)],
)
def test_defaults_follow_the_file_system(fs_size: int, most: int, floor: int) -> None:
    """At most a tenth of it, or 1 GiB; 15 % stay free, or 4 GiB."""
    assert budget.max_use(Limits(), fs_size) == most
    assert budget.keep_free(Limits(), fs_size) == floor
    assert budget.max_use(Limits(max_use=5), fs_size) == 5


def test_the_smaller_limit_wins_and_a_violated_floor_stops_growth() -> None:
    """Free space above the floor counts; below it nothing grows, but for a last megabyte."""
    assert budget.allowance(100 * MiB, 10 * MiB, used=20 * MiB, free=1000 * MiB) == 100 * MiB
    assert budget.allowance(100 * MiB, 10 * MiB, used=20 * MiB, free=15 * MiB) == 25 * MiB
    assert budget.allowance(100 * MiB, 10 * MiB, used=20 * MiB, free=3 * MiB) == 20 * MiB
    assert budget.allowance(100 * MiB, 10 * MiB, used=0, free=3 * MiB) == MiB


@pytest.mark.parametrize("children", [1, 3, 64, 1000, 100_000])
@pytest.mark.parametrize("most", [1, 64 * KiB, 10 * MiB, GiB])
def test_two_segments_of_each_child_fit(children: int, most: int) -> None:
    """One being written and one being compressed are inside the budget by construction."""
    size = budget.segment_size(Limits(), most, children)
    assert size == 1 or size * 2 * children <= most
    assert size <= budget.MAX_SEGMENT


def test_who_has_most_loses_the_oldest_first() -> None:
    """The child furthest over its share; everybody keeps one archive while that is possible."""
    children = {"a": held(0, 10, 10), "b": held(5, 30, 1), "c": held(900)}
    assert budget.next_eviction(children, 60) == ("b", children["b"].archives[0])
    children = {"a": held(0, 10), "b": held(5, 30)}
    assert budget.next_eviction(children, 60) is None
    assert budget.next_eviction(children, 60, spare_the_last=False) == (
        "b",
        children["b"].archives[0],
    )
    assert budget.next_eviction({"a": held(9)}, 1, spare_the_last=False) is None


def test_archives_expire() -> None:
    """After the retention, counted from when the file was closed."""
    old, young = Archive("@1.u", 1_000_000, 1), Archive("@2.u", 9_000_000, 1)
    assert budget.expired([old, young], retention=5.0, now=6.0) == [old]
