"""Addition to OTP: exponential backoff with full jitter between consecutive failures of a child.

The first failure restarts at once, as OTP does. The n-th after it waits a random time in
[0, min(cap, base * 2**n)] seconds. A child that was up for at least the intensity period, and for
as long as its last delay could have been, has recovered: its next failure is a first one again.

Randomness is a pure generator (splitmix64) whose seed lives in the state, so that a run replays.
"""

from supervisor.core.spec import Backoff

_MASK = (1 << 64) - 1
_LARGEST_EXPONENT = 60  # beyond it every cap is reached; keeps base * 2**n finite


def bound(policy: Backoff, failures: int) -> float:
    """The longest delay, in seconds, after ``failures`` consecutive failures; 0 after none."""
    if failures == 0:
        return 0.0
    return min(policy.cap, policy.base * 2.0 ** min(failures, _LARGEST_EXPONENT))


def recovered(policy: Backoff | None, failures: int, uptime: float, period: int) -> bool:
    """Whether a child that was up for ``uptime`` seconds starts a new streak of failures."""
    return uptime >= max(period, bound(policy, failures) if policy else 0.0)


def draw(seed: int) -> tuple[int, float]:
    """The next seed, and a number in [0, 1)."""
    seed = (seed + 0x9E3779B97F4A7C15) & _MASK
    z = seed
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return seed, ((z ^ (z >> 31)) >> 11) / (1 << 53)
