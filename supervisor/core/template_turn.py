"""When the template of a release is due for another one: pure, as the arbiter of workers is.

``decide(memory, views, policy, now) -> (memory, due)``. What counts is what the template has itself
of anonymous memory, shared with its children or not: it is what every fork begins with. (Its
private bytes say nothing: they grow when a child goes, and shrink when one is forked.) Whether a
turn has come about is seen, not heard: then another process serves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from supervisor.core.orders import HOLD_LEAST, HOLD_MOST

MIB = 1 << 20
#: A template has settled so many seconds after it serves: what it has then is its fresh size.
SETTLED = 5.0
#: Growth by less than this is none, however small the template is.
LEAST_GROWTH = 8 * MIB
#: Seconds in which a turn that was ordered must be seen to begin.
BEGINS_WITHIN = 5.0


class Due(Enum):
    """Why a template is to be replaced."""

    GROWN = "grown"
    AGED = "aged"


@dataclass(frozen=True, slots=True)
class TemplatePolicy:
    """``max_age`` in seconds, ``growth`` a part of the fresh size; inf: never."""

    max_age: float = 7 * 86_400.0
    growth: float = 0.2


@dataclass(frozen=True, slots=True)
class TemplateView:
    """What was seen of one template. ``own``: bytes; None: not known."""

    pid: int
    state: str  # serving, loading, lingering
    age: float
    own: int | None = None


@dataclass(frozen=True, slots=True)
class Turns:
    """What is remembered: the fresh size of the one that serves, and what came of orders."""

    pid: int = 0
    fresh: int | None = None
    ordered_at: float | None = None
    begun: bool = False
    failures: int = 0
    blocked_until: float = 0.0

    @property
    def is_blocked(self) -> bool:
        """Whether the last try has failed."""
        return self.failures > 0


def limit(fresh: int, policy: TemplatePolicy) -> float:
    """Return the bytes above which a template has grown."""
    return max(fresh * (1 + policy.growth), fresh + LEAST_GROWTH)


def decide(
    turns: Turns, views: Sequence[TemplateView], policy: TemplatePolicy, now: float
) -> tuple[Turns, Due | None]:
    """Say whether another template is to take over now.

    Args:
        turns: as returned the last time.
        views: the templates of the release.
        policy: the app's.
        now: monotonic float seconds.

    """
    serving = next((view for view in views if view.state == "serving"), None)
    if serving is None:
        return turns, None
    if serving.pid != turns.pid:  # a turn has come about, or the one before has died
        turns = Turns(serving.pid)
    if turns.fresh is None and serving.age >= SETTLED:
        turns = replace(turns, fresh=serving.own)
    loading = any(view.state == "loading" for view in views)
    turns = _settle(turns, loading, now)
    due = _due(turns, serving, policy)
    if due is None or loading or turns.ordered_at is not None or now < turns.blocked_until:
        return turns, None
    return replace(turns, ordered_at=now, begun=False), due


def _due(turns: Turns, view: TemplateView, policy: TemplatePolicy) -> Due | None:
    if turns.fresh is not None and view.own is not None and view.own > limit(turns.fresh, policy):
        return Due.GROWN
    return Due.AGED if view.age > policy.max_age else None


def _settle(turns: Turns, loading: bool, now: float) -> Turns:
    """See what has come of an order: the same one serves still."""
    if turns.ordered_at is None:
        return turns
    if loading:
        return replace(turns, begun=True)
    if not turns.begun and now - turns.ordered_at <= BEGINS_WITHIN:
        return turns
    hold = min(HOLD_MOST, HOLD_LEAST * 2 ** min(10, turns.failures))
    return replace(turns, ordered_at=None, failures=turns.failures + 1, blocked_until=now + hold)
