"""The slope that a few wild samples do not move."""

from collections import deque

import pytest

from supervisor.core.trend import slope


def test_the_slope_of_a_line() -> None:
    """Sixty samples of a steady leak give its rate."""
    assert slope(deque((float(t), 7.0 * t) for t in range(60))) == pytest.approx(7.0)


def test_wild_samples_do_not_matter() -> None:
    """A worker that once had 1000 more for a moment does not leak."""
    samples = [(float(t), 1000.0 if t == 5 else 10.0) for t in range(12)]
    assert slope(samples) == 0.0


def test_too_few_samples_say_nothing() -> None:
    """Three samples are none."""
    assert slope([(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]) is None
