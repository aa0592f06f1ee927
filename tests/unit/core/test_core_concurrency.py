"""Under one_for_one a child at work holds up nobody but those who ask for it."""

import pytest

from supervisor.core.child import IllegalMoveError
from supervisor.core.events import (
    CountChildren,
    DeleteChild,
    Enqueue,
    Exited,
    Retry,
    Shutdown,
    StartChild,
    Started,
    TerminateChild,
    TimerFired,
    WhichChildren,
)
from supervisor.core.events import RestartChild as Again
from supervisor.core.exits import KILLED, SHUTDOWN
from supervisor.core.results import Error, Ok
from supervisor.core.spec import Restart, Strategy
from tests.unit.core.harness import CRASH, Core, child


def test_slow_start_does_not_hold_up_the_exits_of_others() -> None:
    """While a is starting again, b ends and is restarted at once."""
    core = Core(child("a"), child("b"), intensity=5).boot()
    core.exit("a")
    assert core.states() == {"a": "starting", "b": "running"}
    core.exit("b")
    assert core.started() == ["b"]
    core.up("b")
    assert core.states() == {"a": "starting", "b": "running"}


def test_slow_start_does_not_hold_up_calls_about_others() -> None:
    """While a is starting again, b is stopped, c is added, and questions are answered."""
    core = Core(child("a"), child("b"), intensity=5).boot()
    core.exit("a")
    assert core.call(CountChildren()).value.active == 1
    entries = core.call(WhichChildren()).value
    assert [(e.id, e.state) for e in entries] == [("b", "running"), ("a", "starting")]
    core.call(TerminateChild("b"))
    assert core.stopped() == ["b"]
    core.obey("b")
    assert core.reply() == Ok()
    core.call(StartChild({"id": "c", "start": "m:f"}), "c")
    core.up("c")
    assert core.reply("c") == Ok(core.incarnation("c"))


def test_call_about_a_starting_child_waits_for_it() -> None:
    """restart_child and start_child of a child that is starting are answered after its start."""
    core = Core(child("a"), intensity=5).boot()
    core.exit("a")
    assert core.call(Again("a"), "first") is None
    assert core.call(DeleteChild("a"), "second") is None
    core.up("a")
    assert core.reply("first") == Error("running")
    assert core.reply("second") == Error("running")


def test_terminate_cancels_a_restart_under_way() -> None:
    """A child that hangs in its start is stopped at once, and nothing is reported."""
    core = Core(child("a", shutdown=5.0), intensity=5).boot()
    core.exit("a")
    core.call(TerminateChild("a"))
    assert core.stopped() == ["a"]
    core.fail("a")
    assert core.reply() == Ok()
    assert core.states() == {"a": "undefined"}


def test_terminate_cancels_the_start_of_start_child() -> None:
    """Its caller learns it, and nothing is kept of the child."""
    core = Core().boot()
    core.call(StartChild({"id": "a", "start": "m:f"}), "start")
    core.call(TerminateChild("a"), "stop")
    assert core.reply("start") == Error("terminated")
    core.fail("a")
    assert core.reply("stop") == Ok()
    assert core.states() == {}


def test_start_that_succeeds_while_it_is_cancelled() -> None:
    """Started may cross with the stop; the process that came up is waited for."""
    core = Core(child("a"), intensity=5).boot()
    core.exit("a")
    core.call(TerminateChild("a"))
    core.up("a")
    assert core.reply() is None
    core.obey("a")
    assert core.reply() == Ok()


def test_group_strategies_do_one_thing_after_the_other() -> None:
    """Under one_for_all an exit during a group restart waits until it is done, and counts then."""
    core = Core(child("a"), child("b"), strategy=Strategy.ONE_FOR_ALL, intensity=5).boot()
    core.exit("a")
    assert core.stopped() == ["b"]
    core.obey("b")
    core.up("a")
    core.exit("a")
    assert core.started() == []
    core.up("b")
    assert core.stopped() == ["b"]


def test_failed_restart_is_tried_again_behind_the_mailbox() -> None:
    """The retry goes to the end of the mailbox, and is dropped when the child was terminated."""
    core = Core(child("a"), intensity=5).boot()
    core.exit("a")
    core.fail("a")
    retry = Retry("a", core.incarnation("a"))
    assert Enqueue(retry) in core.actions
    assert core.states() == {"a": "restarting"}
    assert core.call(TerminateChild("a")) == Ok()
    assert core.feed(retry) == ()


def test_exit_without_blame_is_not_counted() -> None:
    """With intensity 0 a blameless exit is restarted, one with blame ends the supervisor."""
    core = Core(child("a"), intensity=0).boot()
    core.exit("a", KILLED, blameless=True)
    assert core.started() == ["a"]
    core.up("a")
    core.exit("a", KILLED)
    assert core.quit() is not None


def test_exit_without_blame_is_no_reason_to_keep_a_temporary_child() -> None:
    """The restart type decides as always."""
    core = Core(child("a", restart=Restart.TEMPORARY)).boot()
    core.exit("a", blameless=True)
    assert core.states() == {}


def test_shutdown_cancels_the_boot() -> None:
    """The child that is starting is stopped first, then the others in reverse; no Up."""
    core = Core(child("a"), child("b"), child("c"))
    core.feed(core_boot())
    core.up("a")
    core.feed(Shutdown(SHUTDOWN))
    assert core.stopped() == ["b"]
    core.fail("b")
    assert core.stopped() == ["a"]
    core.obey("a")
    quitting = core.quit()
    assert quitting is not None
    assert quitting.reason == SHUTDOWN
    assert quitting.failed_child is None


def core_boot() -> object:
    """The first event."""
    from supervisor.core.events import Boot

    return Boot()


def test_start_timeout_kills_and_the_failure_follows() -> None:
    """A start that takes too long is killed; what then arrives is a failed start."""
    core = Core(child("a", start_timeout=3.0), intensity=5).boot()
    core.exit("a")
    timer = next(a.timer for a in core.actions if hasattr(a, "timer"))
    core.feed(TimerFired(timer))
    assert core.killed() == [("a", "start_timeout")]
    core.fail("a")
    assert core.states() == {"a": "restarting"}


def test_start_timeout_is_cancelled_by_success_and_harmless_when_late() -> None:
    """A timer that fires after all does nothing."""
    core = Core(child("a", start_timeout=3.0), intensity=5).boot()
    core.exit("a")
    timer = next(a.timer for a in core.actions if hasattr(a, "timer"))
    core.up("a")
    assert timer in [getattr(a, "timer", None) for a in core.actions]
    assert core.feed(TimerFired(timer)) == ()


def test_late_answers_are_dropped() -> None:
    """An exit or a start of an earlier incarnation changes nothing."""
    core = Core(child("a"), intensity=5).boot()
    old = core.incarnation("a")
    core.exit("a")
    before = core.state
    assert core.feed(Exited("a", old, CRASH)) == ()
    assert core.feed(Started("a", old)) == ()
    assert core.state == before


def test_impossible_answer_is_refused_with_the_history() -> None:
    """A second Started of the same incarnation names the child, its state and its last moves."""
    core = Core(child("a")).boot()
    with pytest.raises(IllegalMoveError, match=r"'a' .* is running, .*: start -> up"):
        core.up("a")
