"""How fast something grows: the Theil-Sen slope, which a few wild samples do not move."""

from collections.abc import Iterable
from statistics import median

#: Samples that are compared pairwise, spread evenly over those there are: 66 pairs.
COMPARED = 12
#: Samples that there must be.
LEAST = 4


def slope(samples: Iterable[tuple[float, float]]) -> float | None:
    """Return the median slope of all pairs of (time, value); None if there are too few."""
    samples = list(samples)
    count = len(samples)
    if count < LEAST:
        return None
    if count > COMPARED:
        samples = [samples[n * (count - 1) // (COMPARED - 1)] for n in range(COMPARED)]
    slopes = [
        (late[1] - early[1]) / (late[0] - early[0])
        for n, early in enumerate(samples)
        for late in samples[n + 1 :]
        if late[0] > early[0]
    ]
    return median(slopes) if slopes else None
