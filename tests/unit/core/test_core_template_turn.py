"""When another template takes over: growth and age, one at a time, later and later if it fails."""

from dataclasses import replace

import pytest

from supervisor.core.template_turn import (
    BEGINS_WITHIN,
    LEAST_GROWTH,
    MIB,
    SETTLED,
    Due,
    TemplatePolicy,
    TemplateView,
    Turns,
    decide,
    limit,
)

POLICY = TemplatePolicy()
FRESH = 100 * MIB
SERVING = TemplateView(7, "serving", 60.0, FRESH)
KNOWN = Turns(7, FRESH)


def test_the_fresh_size_is_what_it_has_when_it_has_settled() -> None:
    """Not what it has while its first children are being forked, nor what it has later."""
    turns, due = decide(Turns(), [replace(SERVING, age=SETTLED / 2, own=1)], POLICY, 0.0)
    assert (turns.fresh, due) == (None, None)
    turns, _ = decide(turns, [replace(SERVING, age=SETTLED)], POLICY, 5.0)
    turns, _ = decide(turns, [replace(SERVING, own=FRESH + 1)], POLICY, 9.0)
    assert turns == KNOWN


@pytest.mark.parametrize(
    ("view", "due"),
    [
        (SERVING, None),
        (replace(SERVING, own=round(1.2 * FRESH)), None),
        (replace(SERVING, own=round(1.2 * FRESH) + 1), Due.GROWN),
        (replace(SERVING, own=None), None),
        (replace(SERVING, age=POLICY.max_age + 1), Due.AGED),
        (replace(SERVING, age=POLICY.max_age + 1, own=2 * FRESH), Due.GROWN),
        (replace(SERVING, state="lingering", own=2 * FRESH), None),
    ],
)
def test_growth_by_a_fifth_and_a_week_are_reasons(view: TemplateView, due: Due | None) -> None:
    """By default; only of the one that serves."""
    assert decide(KNOWN, [view], POLICY, 0.0)[1] is due


def test_a_small_template_may_grow_by_eight_mebibytes() -> None:
    """A fifth of little is noise."""
    assert limit(10 * MIB, POLICY) == 10 * MIB + LEAST_GROWTH


def test_infinity_is_never() -> None:
    """Both limits can be switched off."""
    never = TemplatePolicy(float("inf"), float("inf"))
    old = replace(SERVING, age=1e9, own=1 << 60)
    assert decide(KNOWN, [old], never, 0.0)[1] is None


def test_one_order_at_a_time() -> None:
    """Not again while the successor loads; when it serves, all begins anew."""
    grown = replace(SERVING, own=2 * FRESH)
    loading = TemplateView(8, "loading", 0.1)
    turns, due = decide(KNOWN, [grown], POLICY, 0.0)
    assert due is Due.GROWN
    turns, due = decide(turns, [grown, loading], POLICY, 1.0)
    assert due is None
    lingering = replace(grown, state="lingering")
    serving = replace(loading, state="serving", own=FRESH, age=SETTLED)
    turns, due = decide(turns, [serving, lingering], POLICY, 2.0)
    assert (turns, due) == (Turns(8, FRESH), None)


def test_a_turn_that_fails_is_tried_again_later_and_later() -> None:
    """The successor was given up: a minute, then two; meanwhile that is a warning."""
    grown = replace(SERVING, own=2 * FRESH)
    loading = TemplateView(8, "loading", 0.1)
    turns, _ = decide(KNOWN, [grown], POLICY, 0.0)
    turns, _ = decide(turns, [grown, loading], POLICY, 1.0)
    turns, due = decide(turns, [grown], POLICY, 2.0)
    assert (turns.is_blocked, due) == (True, None)
    assert decide(turns, [grown], POLICY, 61.0)[1] is None
    turns, due = decide(turns, [grown], POLICY, 62.0)
    assert due is Due.GROWN
    turns, _ = decide(turns, [grown], POLICY, 62.0 + BEGINS_WITHIN)  # may yet be seen to load
    assert turns.failures == 1
    turns, _ = decide(turns, [grown], POLICY, 63.0 + BEGINS_WITHIN)
    assert (turns.failures, turns.blocked_until) == (2, 63.0 + BEGINS_WITHIN + 120.0)
