"""Checks of single values of a declaration; each returns the value in its checked form.

A failed check raises DefinitionError with the value, what is allowed, what to do, and the place of
the declaration. All durations are float seconds.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.errors import DefinitionError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
NAME_RULE = "a to z, 0 to 9, _ and -, starting with a letter or digit, at most 63 characters"
#: Characters of a value that a message shows.
MAX_SHOWN = 80
#: The longest duration: ten years. More is a mistake, or means "infinity".
MAX_SECONDS = 10 * 365 * 86_400.0

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is being checked, for messages: 'child "web"' and its ``file:line``."""

    label: str
    where: str

    def error(self, problem: str, advice: str = "") -> DefinitionError:
        """Make the error: it is raised by the caller, so that readers see the flow."""
        return DefinitionError(f"{self.label}: {problem}", where=self.where, help=advice)


def shown(value: object) -> str:
    """Represent a value in a message: a string in double quotes, anything else as its repr."""
    try:
        text = f'"{value}"' if isinstance(value, str) and value.isprintable() else repr(value)
    except Exception:  # a repr of the author's that raises must not hide the message
        text = f"<{type(value).__name__}>"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def closest(value: object, allowed: Iterable[str]) -> str | None:
    """Find the allowed word that was probably meant."""
    if not isinstance(value, str):
        return None
    import difflib  # only for a mistake: every fork would carry its pages

    found = difflib.get_close_matches(value.lower().replace("-", "_"), list(allowed), 1, 0.6)
    return found[0] if found else None


def did_you_mean(value: object, allowed: Iterable[str], otherwise: str = "") -> str:
    """Phrase the suggestion, or say ``otherwise``."""
    word = closest(value, allowed)
    return f'did you mean "{word}"?' if word else otherwise


def name(subject: Subject, value: object, field: str = "name") -> str:
    """Check a name of a child, a supervisor or a queue."""
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    advice = f"use {NAME_RULE}"
    if isinstance(value, str):
        better = re.sub(r"[^a-z0-9_-]+", "-", value.lower()).strip("-_")[:63]
        advice += f', for example "{better}"' if NAME.fullmatch(better) else ""
    raise subject.error(f"{field} is {shown(value)}", advice)


def choice(subject: Subject, field: str, value: object, allowed: tuple[str, ...]) -> str:
    """Check a word out of a closed list."""
    if isinstance(value, str) and value in allowed:
        return value
    words = ", ".join(f'"{word}"' for word in allowed)
    advice = did_you_mean(value, allowed, f"use one of {words}")
    raise subject.error(f"{field} is {shown(value)}; allowed: {words}", advice)


def flag(subject: Subject, field: str, value: object) -> bool:
    """Check a truth value."""
    if isinstance(value, bool):
        return value
    raise subject.error(f"{field} is {shown(value)}; allowed: True, False", "use True or False")


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: it has no lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_number(value: object) -> bool:
    """Tell numbers from what only looks like one: True is not a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def seconds(subject: Subject, field: str, value: object) -> float:
    """Check a duration: a number above 0, and finite."""
    if isinstance(value, int | float) and is_number(value) and 0 < value <= MAX_SECONDS:
        return float(value)
    advice = f"write seconds as a plain number, for example {field}=30.0"
    allowed = f"a finite number above 0, at most {MAX_SECONDS:.0f} (ten years)"
    raise subject.error(f"{field} is {shown(value)}; allowed: {allowed}", advice)


def whole(subject: Subject, field: str, value: object, low: int, high: int) -> int:
    """Check an integer between two bounds, both included."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    allowed = f"a whole number from {low} to {high}"
    raise subject.error(f"{field} is {shown(value)}; allowed: {allowed}", f"use {allowed}")


#: Bytes that a size says at most: more than any machine has, and no number that overflows.
MAX_SIZE = 1 << 60


def size(subject: Subject, field: str, value: object) -> int:
    """Check a size: bytes, or a string such as "64MiB"; "64MB" counts in thousands."""
    amount: float = 0
    if isinstance(value, int) and not isinstance(value, bool):
        amount = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        digits, unit, binary = match.groups()
        factor: int = (1024 if binary else 1000) ** _POWERS[unit.upper()]
        amount = float(digits) * factor
    if 1 <= amount <= MAX_SIZE:
        return round(amount)
    raise subject.error(
        f"{field} is {shown(value)}; allowed: bytes as a whole number above 0, or a size",
        'write for example "64MiB" or 67108864',
    )


def shutdown(subject: Subject, value: object) -> float | None:
    """Check OTP's shutdown: seconds, inf for "infinity", None for "brutal_kill"."""
    if value == "infinity" or (isinstance(value, float) and value == math.inf):
        return math.inf
    if value == "brutal_kill":
        return None
    if isinstance(value, int | float) and is_number(value) and 0 <= value <= MAX_SECONDS:
        return float(value)
    raise subject.error(
        f'shutdown is {shown(value)}; allowed: seconds (0 or more), "infinity", "brutal_kill"',
        did_you_mean(value, ("infinity", "brutal_kill"), "write for example shutdown=5.0"),
    )


def restart(subject: Subject, value: object) -> str:
    """Check OTP's restart type."""
    return choice(subject, "restart", value, ("permanent", "transient", "temporary"))


def significant(subject: Subject, value: object, restart_type: str, auto_shutdown: str) -> bool:
    """Check OTP's two bad combinations of a significant child."""
    if not flag(subject, "significant", value):
        return False
    if restart_type == "permanent":
        raise subject.error(
            'significant=True with restart="permanent": it is always restarted, so its end never '
            "counts",
            'use restart="transient" or "temporary", or leave significant out',
        )
    if auto_shutdown == "never":
        raise subject.error(
            'significant=True below a supervisor with auto_shutdown="never"',
            'give the supervisor auto_shutdown="any_significant" or "all_significant", or leave '
            "significant out",
        )
    return True
