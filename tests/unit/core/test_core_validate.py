"""Checks of flags and child specs: OTP's order, and what this project adds."""

import math
from typing import Any

import pytest

from supervisor.core import intensity, validate
from supervisor.core.spec import AutoShutdown, Backoff, ChildSpec, ChildType, Strategy
from supervisor.core.validate import SpecError, Where

BAD_CHILD = {
    "restart": "always",
    "significant": "maybe",
    "type": "wrker",
    "shutdown": -1,
    "modules": 3,
}


def test_first_error_wins_in_the_order_of_otp() -> None:
    """With everything wrong, errors come up one by one as what is before them is put right."""
    right: dict[str, Any] = {
        "id": "a",
        "start": "m:f",
        "restart": "transient",
        "significant": True,
        "type": "worker",
        "shutdown": 1.5,
    }
    spec: dict[str, Any] = dict(BAD_CHILD)
    seen = []
    for key, value in right.items():
        refused = validate.child(spec, AutoShutdown.ANY_SIGNIFICANT)
        assert isinstance(refused, SpecError)
        seen.append(refused.code)
        spec[key] = value
    assert seen == [
        "missing_id",
        "missing_start",
        "invalid_restart_type",
        "invalid_significant",
        "invalid_child_type",
        "invalid_shutdown",
    ]
    refused = validate.child(spec, AutoShutdown.ANY_SIGNIFICANT)
    assert isinstance(refused, SpecError)
    assert refused.code == "invalid_modules"


@pytest.mark.parametrize("start", [7, 0.5, True, None, "mfa"])
def test_what_can_never_be_started_is_refused(start: Any) -> None:
    """OTP's invalid_mfa, for whatever is neither a name nor an object for the shell."""
    refused = validate.child({"id": "a", "start": start}, None)
    assert isinstance(refused, SpecError)
    assert refused.code == "invalid_mfa"


def test_a_module_that_is_no_name_is_told_apart_from_a_list_that_is_none() -> None:
    """OTP's invalid_module names the first wrong one."""
    refused = validate.child({"id": "a", "start": "m:f", "modules": ["m", 7]}, None)
    assert refused == SpecError("invalid_module", "7")


def test_check_childspecs_takes_the_default_by_its_name() -> None:
    """OTP's ``undefined``: for some supervisor, one does not know which."""
    significant = {"id": "a", "start": "m:f", "restart": "transient", "significant": True}
    assert validate.check_childspecs([significant], "undefined") is None
    assert validate.check_childspecs([significant], "sometimes") is not None


def test_defaults_are_those_of_otp() -> None:
    """A worker has 5 seconds to stop, a supervisor for ever."""
    worker = validate.child({"id": "a", "start": "m:f"}, AutoShutdown.NEVER)
    assert worker == ChildSpec("a", "m:f", shutdown=5.0)
    supervisor = validate.child({"id": "a", "start": "m:f", "type": "supervisor"}, None)
    assert supervisor == ChildSpec("a", "m:f", shutdown=math.inf, type=ChildType.SUPERVISOR)


@pytest.mark.parametrize("shutdown", ["infinity", "brutal_kill", 0, 2.5, math.inf])
def test_valid_shutdowns(shutdown: Any) -> None:
    """Seconds from zero up, and OTP's two words."""
    spec = validate.child({"id": "a", "start": "m:f", "shutdown": shutdown}, None)
    assert isinstance(spec, ChildSpec)


@pytest.mark.parametrize("shutdown", [-0.1, True, None, "soon", math.nan])
def test_invalid_shutdowns(shutdown: Any) -> None:
    """Anything else."""
    spec = validate.child({"id": "a", "start": "m:f", "shutdown": shutdown}, None)
    assert isinstance(spec, SpecError)
    assert spec.code == "invalid_shutdown"


def test_template_is_counted_before_it_is_checked() -> None:
    """simple_one_for_one without exactly one child is refused as such, whatever they are."""
    refused = validate.supervisor({"strategy": "simple_one_for_one", "children": ["x", "y"]})
    assert refused == SpecError("bad_start_spec", where=Where.TEMPLATE)


def test_flags_before_children() -> None:
    """Wrong flags are found before wrong children."""
    refused = validate.supervisor({"intensity": 1.5, "children": ["x"]})
    assert refused == SpecError("invalid_intensity", "1.5", Where.FLAGS)


def test_parsed_specs_pass_through() -> None:
    """Dataclasses are taken where mappings are, and checked against the flags they come with."""
    child = ChildSpec("a", "m:f", backoff=Backoff())
    spec = validate.supervisor({"strategy": Strategy.ONE_FOR_ALL, "children": [child]})
    assert not isinstance(spec, SpecError)
    assert spec.children == (child,)


@pytest.mark.parametrize("extra", [{"pool": 1}, {"start_timeout": 0}, {"backoff": "yes"}])
def test_additions_are_checked(extra: dict[str, Any]) -> None:
    """A wrong pool, start_timeout or backoff is refused by its name."""
    refused = validate.child({"id": "a", "start": "m:f"} | extra, None)
    assert isinstance(refused, SpecError)
    assert refused.code == f"invalid_{next(iter(extra))}"


def test_restart_exactly_a_period_ago_still_counts() -> None:
    """Whole seconds, and inclusive: remembered at period, forgotten a second later."""
    times = intensity.add((), 10.9, period=5)
    assert times == (10,)
    assert intensity.within(times, 15.99, period=5) == (10,)
    assert intensity.within(times, 16.0, period=5) == ()
