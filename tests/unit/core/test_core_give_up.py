"""The second rule: so many failures in a row are too many, however slowly they come."""

from supervisor.core.events import (
    Report,
    ReportContext,
    RestartChild,
    SetTimer,
    TerminateChild,
    TimerFired,
    TimerKind,
)
from supervisor.core.restart import GIVEN_UP, NEVER_STABLE
from supervisor.core.spec import Backoff, Strategy
from tests.unit.core.harness import Core, child

SLOW = Backoff(base=100.0, cap=1000.0)


def fails(core: Core, times: int) -> int:
    """Let the child crash as soon as it is up, and wait for its backoff; returns how often."""
    for n in range(times):
        core.exit("a")
        for action in core.actions:
            if isinstance(action, SetTimer) and action.timer.kind is TimerKind.BACKOFF:
                core.now += action.delay
                core.feed(TimerFired(action.timer))
        if core.quit() is not None:
            return n + 1
        core.up("a")
    return times


def reasons(core: Core) -> list[object]:
    """Why the last step has given up."""
    reports = [a for a in core.actions if isinstance(a, Report)]
    return [r.reason for r in reports if r.context is ReportContext.SHUTDOWN]


def test_backoff_alone_is_never_noticed_by_the_intensity() -> None:
    """The trap that this rule is for: a hundred failures, and no end of it."""
    core = Core(child("a", backoff=SLOW), intensity=3, period=5).boot()
    assert fails(core, 100) == 100


def test_so_many_failures_in_a_row_end_the_supervisor() -> None:
    """The tenth failure is the last; there is no delay before that."""
    core = Core(child("a", backoff=SLOW, give_up_after=10), intensity=3, period=5).boot()
    assert fails(core, 100) == 10
    assert NEVER_STABLE in reasons(core)


def test_without_backoff_it_counts_too() -> None:
    """With an intensity that would allow far more."""
    core = Core(child("a", give_up_after=4), intensity=1000, period=5).boot()
    assert fails(core, 100) == 4
    assert NEVER_STABLE in reasons(core)


def test_a_stable_run_begins_a_new_count() -> None:
    """Up for the period: what came before is forgotten."""
    core = Core(child("a", give_up_after=3), intensity=1000, period=5).boot()
    for _ in range(10):
        assert fails(core, 2) == 2
        core.now += 5.0
    assert core.quit() is None


def test_failed_starts_count() -> None:
    """A start that fails is no stable run."""
    core = Core(child("a", backoff=SLOW, give_up_after=3), intensity=1000, period=5).boot()
    core.exit("a")
    core.fail("a")
    core.feed(TimerFired(next(a.timer for a in core.actions if isinstance(a, SetTimer))))
    core.fail("a")
    core.feed(TimerFired(next(a.timer for a in core.actions if isinstance(a, SetTimer))))
    assert NEVER_STABLE in reasons(core)


def test_what_is_nobodys_fault_does_not_count() -> None:
    """Blameless ends (the template died) are restarted at once, and are no failures."""
    core = Core(child("a", backoff=SLOW, give_up_after=2), intensity=0, period=5).boot()
    for _ in range(10):
        core.exit("a", blameless=True)
        assert core.started() == ["a"]
        core.up("a")
    assert core.view("a").failures == 0


def test_the_intensity_comes_first() -> None:
    """Both rules are broken at once: the report names OTP's."""
    core = Core(child("a", give_up_after=1), intensity=0, period=5).boot()
    core.exit("a")
    assert reasons(core) == [GIVEN_UP]


def test_a_sibling_that_ends_meanwhile_does_not_hide_the_last_failure() -> None:
    """Its restart would start the whole group, who has just failed for the last time included."""
    members = (child("a"), child("c", give_up_after=1))
    core = Core(*members, strategy=Strategy.ONE_FOR_ALL, intensity=1000, period=5).boot()
    core.exit("a")
    core.obey("c")
    core.up("a")
    core.exit("a")  # while the other one starts
    core.fail("c")
    assert core.started() == []
    assert core.quit() is not None
    assert reasons(core) == [NEVER_STABLE]


def test_terminating_a_child_that_fails_ends_its_streak() -> None:
    """Started again, by hand or by the restart of its group, it may fail as often as any other."""
    members = (child("a", give_up_after=1), child("b"))
    core = Core(*members, strategy=Strategy.ONE_FOR_ALL, intensity=1000, period=5).boot()
    core.exit("b")
    core.obey("a")
    core.fail("a")
    assert core.view("a").failures == 1
    core.call(TerminateChild("a"))
    core.call(RestartChild("b"))
    core.up("b")
    core.exit("b")
    core.up("a")
    core.up("b")
    assert core.view("a").failures == 0
    core.exit("a")
    assert reasons(core) == [NEVER_STABLE]
