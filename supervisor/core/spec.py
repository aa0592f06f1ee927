"""Child specs and supervisor flags: OTP's words, defaults and checks.

All durations are float seconds. Specs come in as mappings (OTP's maps; unknown keys are ignored)
and go out as frozen dataclasses, or as the first error in OTP's order of checks.

Source: OTP stdlib ``supervisor``, "Supervision Principles" and ``check_childspecs/2``.
"""

from dataclasses import dataclass
from enum import Enum


class Strategy(Enum):
    """Who is restarted when a child ends abnormally."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"


class Restart(Enum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class AutoShutdown(Enum):
    """Whether the end of significant children ends their supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class ChildType(Enum):
    """What a child is; counts, reports and the default of ``shutdown`` depend on it."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Addition: the delay before a child that keeps failing is started again.

    The first restart comes at once, the n-th after it waits a random time, in seconds, out of
    [0, min(cap, base * 2**n)]. See ``backoff`` for when the count starts over.
    """

    base: float = 0.1
    cap: float = 30.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child as the core sees it. ``start`` is opaque: only the shell looks inside."""

    id: str
    start: object
    restart: Restart = Restart.PERMANENT
    shutdown: float | None = 5.0  # seconds; math.inf waits for ever; None is brutal_kill
    type: ChildType = ChildType.WORKER
    significant: bool = False
    # additions to OTP, all off by default
    pool: str | None = None  # the `count` child this is a slot of; its slots start together
    start_timeout: float | None = None
    backoff: Backoff | None = None
    give_up_after: int | None = None  # failures in a row, with no stable run between them


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """Flags and children of one supervisor. OTP's defaults."""

    id: str
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 1
    period: int = 5
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    children: tuple[ChildSpec, ...] = ()
