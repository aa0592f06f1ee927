"""Addition to OTP: a score of failures that decays, after Suture's.

The intensity forgets a failure when its period is over, and backoff when a child was up for long
enough: one that fails just after that is never noticed by either. Each failure adds one to the
score, which halves every `HALF_LIFE` seconds; above `LIMIT` the child is flapping. Nothing is done
about it: health warns.
"""

HALF_LIFE = 30.0
LIMIT = 5.0


def decayed(score: float, seconds: float) -> float:
    """The score that is left so many seconds after it was ``score``."""
    return float(score * 0.5 ** (max(0.0, seconds) / HALF_LIFE))


def failed(score: float, seconds: float) -> float:
    """The score after a further failure, so many seconds after the last one."""
    return decayed(score, seconds) + 1.0


def is_flapping(score: float, seconds: float) -> bool:
    """Whether a child fails too often, by the score it had so many seconds ago."""
    return decayed(score, seconds) > LIMIT
