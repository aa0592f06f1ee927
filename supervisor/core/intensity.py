"""Restart intensity: how many restarts there were within the period, in OTP's exact arithmetic.

Times are whole seconds (the floor of the monotonic clock), newest first. A restart exactly
``period`` seconds ago still counts. Source: OTP stdlib ``supervisor``, ``add_restart``.
"""

import math
from itertools import takewhile


def add(times: tuple[int, ...], now: float, period: int) -> tuple[int, ...]:
    """Record a restart at ``now`` (seconds) and forget those older than ``period`` seconds."""
    return (math.floor(now), *within(times, now, period))


def within(times: tuple[int, ...], now: float, period: int) -> tuple[int, ...]:
    """The restarts that still count at ``now``."""
    oldest = math.floor(now) - period
    return tuple(takewhile(lambda t: t >= oldest, times))
