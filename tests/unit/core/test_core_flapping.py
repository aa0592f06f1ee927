"""Who fails too often for comfort, though never often enough for the intensity or the backoff."""

import pytest

from supervisor.core import flapping


def after(failures: int, every: float) -> float:
    """The score after that many failures, so many seconds apart."""
    score = 0.0
    for _ in range(failures):
        score = flapping.failed(score, every)
    return score


def test_a_failure_just_past_the_period_is_flapping() -> None:
    """Every six seconds, with a period of five: no rule of restarts sees it, the score does."""
    assert flapping.is_flapping(after(20, 6.0), 0.0)


@pytest.mark.parametrize(("failures", "every"), [(1, 0.0), (5, 0.0), (1000, 20.0)])
def test_few_failures_or_rare_ones_are_not(failures: int, every: float) -> None:
    """A burst of five, or one every twenty seconds for hours."""
    assert not flapping.is_flapping(after(failures, every), 0.0)


def test_the_score_halves_in_its_half_life() -> None:
    """And so a child that was left in peace is well again."""
    score = after(20, 6.0)
    assert flapping.decayed(score, flapping.HALF_LIFE) == pytest.approx(score / 2)
    assert not flapping.is_flapping(score, 2 * flapping.HALF_LIFE)
