"""Checks of supervisor flags and child specs given as mappings, in OTP's order; first error wins.

Every function returns the parsed dataclass or a SpecError. Unknown keys are ignored. Durations are
float seconds: ``shutdown`` is a number >= 0, "infinity" or "brutal_kill".

Source: OTP stdlib ``supervisor``, ``check_flags``, ``check_childspec`` and ``check_startspec``.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from supervisor.core.spec import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildType,
    Restart,
    Strategy,
    SupervisorSpec,
)

_MODULE_FUNCTION = re.compile(r"[\w.]+:[\w.]+")
_E = TypeVar("_E", bound=Enum)


class Where(Enum):
    """Which part of a supervisor's spec was refused: OTP wraps the error accordingly."""

    FLAGS = "supervisor_data"
    CHILDREN = "start_spec"
    TEMPLATE = "bad_start_spec"


@dataclass(frozen=True, slots=True)
class SpecError:
    """Why a spec was refused: OTP's atom, the offending value or keys, and the part it is in."""

    code: str
    detail: str = ""
    where: Where = Where.CHILDREN


def supervisor(spec: Any) -> SupervisorSpec | SpecError:
    """Check what a supervisor is to boot with: flags, one template if simple, then the children.

    Args:
        spec: a mapping with ``id`` and optionally ``strategy``, ``intensity`` (restarts),
            ``period`` (whole seconds), ``auto_shutdown``, ``children`` (a list of child specs).
    """
    checked = flags(spec)
    if isinstance(checked, SpecError):
        return checked
    if checked.strategy is Strategy.SIMPLE_ONE_FOR_ONE and not _one(spec.get("children")):
        return SpecError("bad_start_spec", where=Where.TEMPLATE)
    parsed = children(spec.get("children", ()), checked.auto_shutdown)
    return parsed if isinstance(parsed, SpecError) else replace(checked, children=parsed)


def _one(specs: Any) -> bool:
    return isinstance(specs, list | tuple) and len(specs) == 1


def flags(spec: Any) -> SupervisorSpec | SpecError:
    """Check supervisor flags alone; the result has no children (OTP ``check_flags``)."""
    if not isinstance(spec, Mapping):
        return _flags_error("invalid_type", spec)
    strategy = _member(Strategy, spec.get("strategy", "one_for_one"))
    intensity = spec.get("intensity", 1)
    period = spec.get("period", 5)
    auto_shutdown = _member(AutoShutdown, spec.get("auto_shutdown", "never"))
    if strategy is None:
        return _flags_error("invalid_strategy", spec["strategy"])
    if not _whole(intensity, 0):
        return _flags_error("invalid_intensity", intensity)
    if not _whole(period, 1):
        return _flags_error("invalid_period", period)
    if auto_shutdown is None:
        return _flags_error("invalid_auto_shutdown", spec["auto_shutdown"])
    if strategy is Strategy.SIMPLE_ONE_FOR_ONE and auto_shutdown is not AutoShutdown.NEVER:
        return SpecError("bad_combination", "auto_shutdown,strategy", Where.FLAGS)
    return SupervisorSpec(str(spec.get("id", "")), strategy, intensity, period, auto_shutdown)


def children(specs: Any, auto_shutdown: AutoShutdown | None) -> tuple[ChildSpec, ...] | SpecError:
    """Check a list of child specs, duplicates included (OTP ``check_startspec``)."""
    if not isinstance(specs, list | tuple):
        return SpecError("badarg", repr(specs))
    parsed: dict[str, ChildSpec] = {}
    for spec in specs:
        one = child(spec, auto_shutdown)
        if isinstance(one, SpecError):
            return one
        if one.id in parsed:
            return SpecError("duplicate_child_name", one.id)
        parsed[one.id] = one
    return tuple(parsed.values())


def check_childspecs(specs: Any, auto_shutdown: Any = None) -> SpecError | None:
    """OTP's ``check_childspecs/1,2``: None when all is well.

    Without ``auto_shutdown`` (None, or OTP's "undefined") a significant child is accepted as if
    some supervisor would take it.
    """
    if not isinstance(specs, list | tuple):
        return SpecError("badarg", repr(specs))
    known = auto_shutdown not in (None, "undefined")
    mode = _member(AutoShutdown, auto_shutdown) if known else None
    if known and mode is None:
        return SpecError("badarg", repr(auto_shutdown))
    parsed = children(specs, mode)
    return parsed if isinstance(parsed, SpecError) else None


def child(spec: Any, auto_shutdown: AutoShutdown | None) -> ChildSpec | SpecError:
    """Check one child spec (OTP ``check_childspec``).

    Args:
        spec: a mapping with ``id`` and ``start`` ("module:function", or any object the shell
            understands), optionally ``restart``, ``significant``, ``type``, ``shutdown``,
            ``modules``; additions: ``pool``, ``start_timeout`` (seconds), ``backoff`` (a Backoff).
        auto_shutdown: of the supervisor it is for; None when that is not known.
    """
    if isinstance(spec, ChildSpec):
        return _significance(spec.significant, spec.restart, auto_shutdown) or spec
    if not isinstance(spec, Mapping):
        return SpecError("invalid_child_spec", repr(spec))
    if "id" not in spec:
        return SpecError("missing_id")
    if "start" not in spec:
        return SpecError("missing_start")
    if not isinstance(spec["id"], str):
        return SpecError("invalid_id", repr(spec["id"]))
    if not _startable(spec["start"]):
        return SpecError("invalid_mfa", repr(spec["start"]))
    restart = _member(Restart, spec.get("restart", "permanent"))
    if restart is None:
        return SpecError("invalid_restart_type", repr(spec["restart"]))
    refused = _significance(spec.get("significant", False), restart, auto_shutdown)
    if refused is not None:
        return refused
    return _child_rest(spec, restart)


def _child_rest(spec: Mapping[str, Any], restart: Restart) -> ChildSpec | SpecError:
    kind = _member(ChildType, spec.get("type", "worker"))
    if kind is None:
        return SpecError("invalid_child_type", repr(spec["type"]))
    default = "infinity" if kind is ChildType.SUPERVISOR else 5.0
    given = spec.get("shutdown", default)
    if not _valid_shutdown(given):
        return SpecError("invalid_shutdown", repr(given))
    refused = _modules(spec.get("modules", "dynamic")) or _additions(spec)
    if refused is not None:
        return refused
    return ChildSpec(
        id=spec["id"],
        start=spec["start"],
        restart=restart,
        shutdown=_shutdown(given),
        type=kind,
        significant=spec.get("significant", False),
        pool=spec.get("pool"),
        start_timeout=spec.get("start_timeout"),
        backoff=spec.get("backoff"),
    )


def _significance(
    significant: Any, restart: Restart, auto_shutdown: AutoShutdown | None
) -> SpecError | None:
    if significant is True and auto_shutdown is AutoShutdown.NEVER:
        return SpecError("bad_combination", "auto_shutdown,significant")
    if significant is True and restart is Restart.PERMANENT:
        return SpecError("bad_combination", "restart,significant")
    if not isinstance(significant, bool):
        return SpecError("invalid_significant", repr(significant))
    return None


def _additions(spec: Mapping[str, Any]) -> SpecError | None:
    pool, start_timeout, backoff = (spec.get(k) for k in ("pool", "start_timeout", "backoff"))
    if pool is not None and not isinstance(pool, str):
        return SpecError("invalid_pool", repr(pool))
    if start_timeout is not None and not (_number(start_timeout) and start_timeout > 0):
        return SpecError("invalid_start_timeout", repr(start_timeout))
    if backoff is not None and not isinstance(backoff, Backoff):
        return SpecError("invalid_backoff", repr(backoff))
    return None


def _flags_error(code: str, value: Any) -> SpecError:
    return SpecError(code, repr(value), Where.FLAGS)


def _member(kind: type[_E], value: Any) -> _E | None:
    """The member of an Enum, given as itself or as its value; None when it is neither."""
    if isinstance(value, kind):
        return value
    return next((member for member in kind if member.value == value), None)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _startable(start: Any) -> bool:
    """A name must read "module:function"; which other objects may be, only the shell knows."""
    if isinstance(start, str):
        return _MODULE_FUNCTION.fullmatch(start) is not None
    return start is not None and not isinstance(start, int | float)


def _valid_shutdown(value: Any) -> bool:
    return value in ("infinity", "brutal_kill") or (_number(value) and value >= 0)


def _shutdown(value: Any) -> float | None:
    if value == "brutal_kill":
        return None
    return math.inf if value == "infinity" else float(value)


def _modules(value: Any) -> SpecError | None:
    if value == "dynamic":
        return None
    if not isinstance(value, list | tuple):
        return SpecError("invalid_modules", repr(value))
    wrong = [name for name in value if not isinstance(name, str)]
    return SpecError("invalid_module", repr(wrong[0])) if wrong else None
