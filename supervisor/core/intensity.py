"""Restart intensity: how many restarts there were within the period, in OTP's exact arithmetic.

Times are whole seconds (the floor of the monotonic clock), newest first. A restart exactly
``period`` seconds ago still counts. Source: OTP stdlib ``supervisor``, ``add_restart``.
"""

import math


def add(times: tuple[int, ...], now: float, period: int) -> tuple[int, ...]:
    """Record a restart at ``now`` (seconds) and forget those older than ``period`` seconds."""
    return (math.floor(now), *within(times, now, period))


def within(times: tuple[int, ...], now: float, period: int) -> tuple[int, ...]:
    """The restarts that still count at ``now``."""
    oldest = math.floor(now) - period
    count = len(times)
    while count and times[count - 1] < oldest:  # from the end: most of a storm still count
        count -= 1
    return times[:count]
