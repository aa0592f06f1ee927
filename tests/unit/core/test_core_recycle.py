"""Recycling: the successor is up before the old process is asked to stop."""

import pytest

from supervisor.core.events import (
    Call,
    Exited,
    Recycle,
    SetTimer,
    Shutdown,
    Start,
    Started,
    StartFailed,
    TerminateChild,
    Timer,
    TimerFired,
    TimerKind,
)
from supervisor.core.exits import NORMAL, SHUTDOWN
from supervisor.core.results import Error, Ok
from supervisor.core.spec import Restart, Strategy
from tests.unit.core.harness import CRASH, Core, child


def recycling(**flags: object) -> tuple[Core, int, int]:
    """A supervisor of a, whose successor is starting; the old and the new incarnation."""
    core = Core(child("a"), child("b"), **flags).boot()
    old = core.incarnation("a")
    core.feed(call())
    new = next(a.incarnation for a in core.actions if isinstance(a, Start))
    return core, old, new


def call(ref: str = "ref") -> object:
    """The request."""
    from supervisor.core.events import Call

    return Call(ref, Recycle("a", "age"))


@pytest.mark.parametrize("strategy", [s for s in Strategy if s is not Strategy.SIMPLE_ONE_FOR_ONE])
def test_successor_takes_over_before_the_old_one_stops(strategy: Strategy) -> None:
    """It replaces one process by another, touches no sibling, and does not count."""
    core, old, new = recycling(strategy=strategy, intensity=0)
    assert core.states() == {"a": "running", "b": "running"}
    core.feed(Started("a", new))
    assert core.stopped() == ["a"]
    assert core.incarnation("a") == new
    assert core.view("a").retiring == old
    assert core.reply() is None
    core.feed(Exited("a", old, SHUTDOWN))
    assert core.reply() == Ok()
    assert core.view("a").restarts == 0


def test_successor_that_fails_leaves_the_old_one() -> None:
    """The caller learns it, and the old process is as before."""
    core, old, new = recycling(intensity=0)
    core.feed(StartFailed("a", new, CRASH))
    assert core.reply() == Error("start_failed", "boom")
    assert core.incarnation("a") == old
    assert core.stopped() == []


def test_old_one_that_dies_meanwhile_is_succeeded_and_counts() -> None:
    """The successor under way becomes the restart."""
    core, old, new = recycling(intensity=1)
    core.feed(Exited("a", old, CRASH))
    assert core.started() == []
    assert core.reply() == Error("exited")
    assert (core.states()["a"], core.incarnation("a")) == ("starting", new)
    core.feed(Started("a", new))
    core.exit("a")
    assert core.stopped() == ["b"], "the second restart is one too many"


def test_old_one_that_ends_for_good_takes_its_successor_along() -> None:
    """A transient child that ended normally is not wanted any more."""
    core = Core(child("a", restart=Restart.TRANSIENT)).boot()
    old = core.incarnation("a")
    core.feed(call())
    new = next(a.incarnation for a in core.actions if isinstance(a, Start))
    core.feed(Exited("a", old, NORMAL))
    assert core.stopped() == ["a"]
    core.feed(StartFailed("a", new, CRASH))
    assert core.states() == {"a": "undefined"}


def test_terminate_stops_both() -> None:
    """terminate_child is answered when both processes are gone."""
    core, old, new = recycling()
    core.call(TerminateChild("a"), "stop")
    assert core.stopped() == ["a", "a"]
    assert core.reply() == Error("terminated")
    core.feed(Exited("a", old, SHUTDOWN))
    assert core.reply("stop") is None
    core.feed(StartFailed("a", new, CRASH))
    assert core.reply("stop") == Ok()


def test_shutdown_stops_both_in_the_place_of_the_child() -> None:
    """b, started later, is stopped first; then both processes of a; then the supervisor ends."""
    core, old, new = recycling()
    core.feed(Shutdown(SHUTDOWN))
    assert core.stopped() == ["b"]
    core.obey("b")
    assert core.stopped() == ["a", "a"]
    core.feed(Exited("a", old, SHUTDOWN))
    core.feed(StartFailed("a", new, CRASH))
    assert core.quit() is not None


def test_group_restart_cancels_the_successor() -> None:
    """Under one_for_all the end of the old process restarts all, one process each."""
    core, old, new = recycling(strategy=Strategy.ONE_FOR_ALL, intensity=1)
    core.feed(Exited("a", old, CRASH))
    assert core.stopped() == ["b"]
    core.obey("b")
    assert core.stopped() == ["a"]
    core.feed(StartFailed("a", new, CRASH))
    assert core.started() == ["a"]


def test_second_recycle_is_refused() -> None:
    """One at a time; and only of a running child that is there."""
    core, _, _ = recycling()
    core.feed(call("again"))
    assert core.reply("again") == Error("recycling")
    assert core.call(Recycle("x", "age"), "x") == Error("not_found")


def test_successor_that_dies_while_the_old_one_stops() -> None:
    """Its restart waits until the old process is gone: never more than two a slot."""
    core, old, new = recycling(intensity=1)
    core.feed(Started("a", new))
    core.feed(Exited("a", new, CRASH))
    assert core.started() == []
    core.feed(Exited("a", old, SHUTDOWN))
    assert core.reply() == Ok()
    assert core.started() == ["a"]


def soaking() -> tuple[Core, int, int]:
    """A supervisor of a, whose successor is up and has to prove itself."""
    core = Core(child("a"), child("b"), intensity=1).boot()
    old = core.incarnation("a")
    core.feed(Call("ref", Recycle("a", "age", soak=2.0, patience=30.0)))
    new = next(a.incarnation for a in core.actions if isinstance(a, Start))
    core.feed(Started("a", new))
    return core, old, new


def test_a_successor_soaks_before_it_takes_over() -> None:
    """Until it has been up for so long the old process is not asked to stop; then it has 30 s."""
    core, old, new = soaking()
    assert core.stopped() == []
    assert core.incarnation("a") == old
    core.feed(TimerFired(Timer(TimerKind.SOAK, "a", new)))
    assert core.stopped() == ["a"]
    assert core.incarnation("a") == new
    assert SetTimer(Timer(TimerKind.SHUTDOWN, "a", old), 30.0) in core.actions
    core.feed(Exited("a", old, SHUTDOWN))
    assert core.reply() == Ok()


def test_a_successor_that_dies_while_it_soaks_leaves_the_old_one() -> None:
    """It is no restart and does not count; its timer means nothing any more."""
    core, old, new = soaking()
    core.feed(Exited("a", new, CRASH))
    assert core.reply() == Error("exited")
    assert core.incarnation("a") == old
    core.feed(TimerFired(Timer(TimerKind.SOAK, "a", new)))
    assert core.stopped() == []


def test_an_old_one_that_dies_while_its_successor_soaks_is_succeeded_at_once() -> None:
    """The successor is there already: nothing is started."""
    core, old, new = soaking()
    core.feed(Exited("a", old, CRASH))
    assert core.started() == []
    assert core.incarnation("a") == new
    assert core.states()["a"] == "running"
    core.feed(TimerFired(Timer(TimerKind.SOAK, "a", new)))
    assert core.stopped() == []
