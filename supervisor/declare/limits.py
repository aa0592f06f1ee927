"""Checks of what a child, and a whole app, may grow to."""

import math
from collections.abc import Callable
from typing import Any

from supervisor.core.thresholds import LEAST_SOFT, MIB, UNLIMITED, Limits
from supervisor.declare import checks
from supervisor.declare.checks import Subject, shown
from supervisor.declare.tree import Child, Supervisor
from supervisor.process.sample import private_bytes

MAX_MESSAGES = 1 << 62
MAX_HANDLES = 1 << 30
DAY = 86_400.0
#: Private bytes that the smallest worker there is has when it is fresh (measured: 1.0 to 1.6 MiB).
LEAST_BASELINE = MIB


def limits(subject: Subject, child: Child, *, is_command: bool, preload: bool) -> Limits:
    """Check the limits of a child, and leave those to be found out that were not given.

    Only for a permanent Python target is that done: a job that may end by itself is not to be
    begun again because it takes a day, and of a program nobody knows whether two can run at once
    (they may want the same port), or what it keeps in its memory.
    """
    automatic = not is_command and child.restart == "permanent"
    soft = _size(subject, "memory_soft", child.memory_soft)
    hard = _size(subject, "memory_hard", child.memory_hard)
    if soft is not None and hard is not None and soft >= hard:
        raise subject.error(
            f"memory_soft is {shown(child.memory_soft)}, not below memory_hard, which is "
            f"{shown(child.memory_hard)}",
            "between the two there must be room for a planned replacement",
        )
    if is_command and child.max_messages:
        raise subject.error(
            "max_messages is for Python targets: a command counts none", "leave max_messages out"
        )
    baseline = LEAST_BASELINE if is_command or preload else private_bytes("self")
    for field, given in (("memory_soft", soft), ("memory_hard", hard)):
        _refuse_below_baseline(subject, field, given, baseline)
    return Limits(
        memory_soft=soft,
        memory_hard=hard if hard or soft or automatic else UNLIMITED,
        max_age=_age(subject, child.max_age, DAY if automatic else math.inf),
        max_messages=checks.whole(subject, "max_messages", child.max_messages, 0, MAX_MESSAGES),
        max_fds=_handles(subject, "max_fds", child.max_fds, automatic),
        max_threads=_handles(subject, "max_threads", child.max_threads, automatic),
        max_temp=_temp(subject, child),
        min_lifetime=_lifetime(subject, child.min_lifetime),
        trim=checks.flag(subject, "trim", child.trim),
    )


def app(subject: Subject, declared: Supervisor, *, is_root: bool) -> dict[str, Any]:
    """Check what a whole app may grow to, and how it is recycled; only what was given."""
    found = {}
    for field, check in _OF_THE_APP.items():
        value = getattr(declared, field)
        if value is None:
            continue
        if not is_root:
            raise subject.error(
                f"{field} is for the whole app", "declare it on the root supervisor"
            )
        found[field] = check(subject, field, value)
    return found


def _refuse_below_baseline(
    subject: Subject, field: str, given: int | None, baseline: int | None
) -> None:
    """Refuse a limit that a fresh worker is at already: it would be recycled for ever.

    Here it is known of workers that import the app afresh: they have at least what this process
    has. Of others it is found out when they run; then the limit is raised, with a warning.
    """
    least = LEAST_SOFT * (baseline or 0)
    if given is not None and given < least:
        raise subject.error(
            f"{field} is {given / MIB:.1f} MiB, and a fresh worker has {(baseline or 0) / MIB:.1f}",
            f'it would be recycled for ever: write at least {field}="{math.ceil(least / MIB)}MiB"',
        )


def _size(subject: Subject, field: str, value: object) -> int | None:
    return None if value is None else checks.size(subject, field, value)


def _handles(subject: Subject, field: str, value: object, automatic: bool) -> int | None:
    if value is None:
        return None if automatic else MAX_HANDLES
    return checks.whole(subject, field, value, 1, MAX_HANDLES)


def _temp(subject: Subject, child: Child) -> int:
    if child.max_temp is None:
        return 0
    if child.private_tmp is False or child.user is not None:
        raise subject.error(
            "max_temp is for a temp directory of its own, which this child does not have",
            "leave max_temp out; what is in the system's belongs to nobody in particular",
        )
    return checks.size(subject, "max_temp", child.max_temp)


def _age(subject: Subject, value: object, default: float) -> float:
    return default if value is None else _endless(subject, "max_age", value)


def _endless(subject: Subject, field: str, value: object) -> float:
    if value == "infinity" or (isinstance(value, float) and value == math.inf):
        return math.inf
    return checks.seconds(subject, field, value)


def _lifetime(subject: Subject, value: object) -> float:
    if isinstance(value, int | float) and checks.is_number(value) and value == 0:
        return 0.0
    return checks.seconds(subject, "min_lifetime", value)


def _count(subject: Subject, field: str, value: object) -> int:
    return checks.whole(subject, field, value, 1, MAX_HANDLES)


#: What is declared for a whole app, on the root.
_OF_THE_APP: dict[str, Callable[[Subject, str, object], float]] = {
    "memory_budget": checks.size,
    "surge_reserve": checks.size,
    "max_concurrent_recycles": _count,
    "recycle_spacing": checks.seconds,
    "template_max_age": _endless,
    "template_growth": _endless,
}
