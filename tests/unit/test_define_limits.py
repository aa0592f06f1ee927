"""Limits and recyclers of a declaration: what is refused, and what is found out by itself."""

import math
from pathlib import Path
from typing import Any

import pytest

from supervisor import Child, Recycler, Supervisor, recycle
from supervisor.core.thresholds import MIB, Limits
from supervisor.declare.checks import MAX_SIZE
from supervisor.declare.define import define
from supervisor.definition import ChildDefinition
from supervisor.errors import DefinitionError


def limits(**fields: Any) -> Limits:
    """Return the checked limits of a child."""
    if "command" not in fields:
        fields["target"] = print
    [child] = define(Supervisor("app", [Child("web", **fields)])).children
    assert isinstance(child, ChildDefinition)
    return child.limits


def test_sizes_are_written_with_units() -> None:
    """200MiB is what it says."""
    found = limits(memory_soft="200MiB", memory_hard="1GiB", max_age=60.0)
    assert (found.memory_soft, found.memory_hard, found.max_age) == (200 * MIB, 1 << 30, 60.0)


def test_a_permanent_worker_is_protected_by_itself() -> None:
    """Nothing was set: memory by the budget, age a day."""
    assert limits() == Limits()


@pytest.mark.parametrize(
    "fields", [{"command": ["sleep", "9"]}, {"restart": "temporary"}, {"restart": "transient"}]
)
def test_others_are_recycled_only_if_their_author_says_so(fields: dict[str, Any]) -> None:
    """A program keeps its data in memory, and a job of two days is not begun anew after one."""
    found = limits(**fields)
    assert (found.max_age, found.memory_hard) == (math.inf, MAX_SIZE)
    assert limits(**fields, memory_soft="1GiB").memory_hard is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"memory_soft": "2GiB", "memory_hard": "1GiB"}, "memory_soft is .* not below memory_hard"),
        ({"memory_soft": "lots"}, "memory_soft is"),
        ({"memory_soft": "1MiB"}, "a fresh worker has"),
        ({"memory_hard": "2MiB", "preload": False}, "a fresh worker has"),
        ({"max_age": 0}, "max_age is 0"),
        ({"max_messages": -1}, "max_messages is -1"),
        ({"max_fds": 0}, "max_fds is 0"),
        ({"min_lifetime": -1}, "min_lifetime is -1"),
        ({"max_temp": -1}, "max_temp is -1"),
        ({"max_temp": "1GiB", "private_tmp": False}, "max_temp is for a temp directory of its own"),
        ({"max_temp": "1GiB", "user": 65534}, "max_temp is for a temp directory of its own"),
        ({"trim": "yes"}, "trim is"),
        ({"command": ["sleep", "9"], "max_messages": 5}, "max_messages is for Python targets"),
    ],
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, Any], problem: str) -> None:
    """The message names the value, and where it was declared."""
    with pytest.raises(DefinitionError, match=problem) as caught:
        limits(**fields)
    assert "test_define_limits.py" in caught.value.where


def test_a_budget_is_of_the_whole_app() -> None:
    """It is declared on the root."""
    assert define(Supervisor("app", memory_budget="2GiB")).memory_budget == 2 << 30
    inner = Supervisor("inner", memory_budget="1GiB")
    with pytest.raises(DefinitionError, match="for the whole app"):
        define(Supervisor("app", [inner]))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"surge_reserve": "much"}, "surge_reserve is"),
        ({"max_concurrent_recycles": 0}, "max_concurrent_recycles is 0"),
        ({"recycle_spacing": 0}, "recycle_spacing is 0"),
    ],
)
def test_how_a_whole_app_is_recycled_is_checked(fields: dict[str, Any], problem: str) -> None:
    """As sizes, numbers and seconds; and it is declared on the root."""
    with pytest.raises(DefinitionError, match=problem):
        define(Supervisor("app", **fields))
    inner = Supervisor("inner", **fields)
    with pytest.raises(DefinitionError, match=f"{next(iter(fields))} is for the whole app"):
        define(Supervisor("app", [inner]))


def test_templates_have_limits_of_their_own() -> None:
    """A week and a fifth if nothing is said; declared on the root, and checked."""
    automatic = define(Supervisor("app"))
    assert (automatic.template_max_age, automatic.template_growth) == (604_800.0, 0.2)
    given = define(Supervisor("app", template_max_age="infinity", template_growth=0.5))
    assert (given.template_max_age, given.template_growth) == (float("inf"), 0.5)
    with pytest.raises(DefinitionError, match="template_growth is -1"):
        define(Supervisor("app", template_growth=-1))
    with pytest.raises(DefinitionError, match="template_max_age is for the whole app"):
        define(Supervisor("app", [Supervisor("inner", template_max_age=5.0)]))


def test_recyclers_are_declared(tmp_path: Path) -> None:
    """A directory with limits, and a function with a name made of its own."""

    @recycle(every=60)
    def old_rows() -> int:
        return 5

    uploads = Recycler("uploads", path=tmp_path, max_age=3600, max_bytes="1GiB")
    found = define(Supervisor("app", recyclers=[uploads, old_rows])).recyclers
    assert [(one.name, one.path, one.every) for one in found] == [
        ("uploads", str(tmp_path), 300.0),
        ("old-rows", None, 60.0),
    ]
    assert found[0].max_bytes == 1 << 30
    assert old_rows() == 5


@pytest.mark.parametrize(
    ("recycler", "problem"),
    [
        (Recycler("all", path="/tmp", max_files=1), "others keep their files there"),
        (Recycler("all", path="/", max_files=1), "others keep their files there"),
        (Recycler("all", path="/etc/hostname", max_files=1), "which is no directory"),
        (Recycler("all", path="/somewhere/else"), "it has no limit"),
        (Recycler("all"), "path is None"),
        (Recycler("all", path="/somewhere/else", max_age=-1), "max_age is -1"),
        (print, "which is no Recycler"),
    ],
)
def test_recyclers_that_could_do_harm_are_refused(recycler: Any, problem: str) -> None:
    """A directory that others use as well is nobody's to sweep."""
    with pytest.raises(DefinitionError, match=problem):
        define(Supervisor("app", recyclers=[recycler]))
