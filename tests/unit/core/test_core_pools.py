"""Slots of a ``count`` child: started and stopped together, scaled, no siblings in rest_for_one."""

from supervisor.core.events import Boot, Scale, Shutdown, Started, TerminateChild
from supervisor.core.exits import SHUTDOWN
from supervisor.core.results import Error, Ok
from supervisor.core.spec import Strategy
from tests.unit.core.harness import Core, child, pool


def test_slots_start_together_and_the_next_child_after_them() -> None:
    """The wave is done when each of its slots is up."""
    core = Core(child("a"), *pool("p", 3), child("z"))
    core.feed(Boot())
    core.up("a")
    assert core.started() == ["p.0", "p.1", "p.2"]
    core.up("p.1")
    core.up("p.0")
    assert core.started() == []
    core.up("p.2")
    assert core.started() == ["z"]


def test_slots_stop_together() -> None:
    """In reverse order of the list, highest slot first, a wave at a time."""
    core = Core(child("a"), *pool("p", 3), child("z")).boot()
    core.feed(Shutdown(SHUTDOWN))
    assert core.stopped() == ["z"]
    core.obey("z")
    assert core.stopped() == ["p.2", "p.1", "p.0"]


def test_slot_that_fails_in_the_boot_takes_the_others_down() -> None:
    """Those still starting are stopped too, then those before."""
    core = Core(child("a"), *pool("p", 2))
    core.feed(Boot())
    core.up("a")
    core.fail("p.0")
    assert core.stopped() == ["p.1"]
    core.fail("p.1")
    assert core.stopped() == ["a"]
    core.obey("a")
    quitting = core.quit()
    assert quitting is not None
    assert quitting.failed_child == "p.0"


def test_slots_are_not_after_each_other() -> None:
    """Under rest_for_one a slot takes later children with it, but not its sibling slots."""
    flags = {"strategy": Strategy.REST_FOR_ONE, "intensity": 5}
    core = Core(*pool("p", 2), child("z"), **flags).boot()
    core.exit("p.0")
    assert core.stopped() == ["z"]
    core.obey("z")
    assert core.started() == ["p.0"]


def test_slots_failing_in_one_group_restart_are_all_tried_again() -> None:
    """Each failed slot of a wave becomes restarting and gets a retry of its own."""
    flags = {"strategy": Strategy.ONE_FOR_ALL, "intensity": 9}
    core = Core(child("a"), *pool("p", 2), **flags).boot()
    core.exit("a")
    core.obey("p.1")
    core.obey("p.0")
    core.up("a")
    core.fail("p.0")
    core.fail("p.1")
    assert core.states() == {"a": "running", "p.0": "restarting", "p.1": "restarting"}


def test_scale_up_starts_new_slots_behind_the_last() -> None:
    """They take the next numbers, and their place in the order is behind their pool."""
    core = Core(*pool("p", 2), child("z")).boot()
    assert core.call(Scale("p", 4)) is None
    assert core.started() == ["p.2", "p.3"]
    core.up("p.2")
    core.up("p.3")
    assert core.reply() == Ok()
    assert list(core.states()) == ["p.0", "p.1", "p.2", "p.3", "z"]


def test_scale_down_stops_and_deletes_the_highest() -> None:
    """Surplus slots go, highest first."""
    core = Core(*pool("p", 3), child("z")).boot()
    core.call(Scale("p", 1))
    assert core.stopped() == ["p.2", "p.1"]
    core.obey("p.1")
    core.obey("p.2")
    assert core.reply() == Ok()
    assert list(core.states()) == ["p.0", "z"]


def test_scale_to_nothing_and_back() -> None:
    """A pool of no slots is still known."""
    core = Core(*pool("p", 1)).boot()
    core.call(Scale("p", 0))
    core.obey("p.0")
    assert core.states() == {}
    core.call(Scale("p", 1))
    core.up("p.0")
    assert core.reply() == Ok()


def test_scale_with_a_slot_that_fails() -> None:
    """The slot is not kept, the others are, and the caller learns which it was."""
    core = Core(*pool("p", 1)).boot()
    core.call(Scale("p", 3))
    core.fail("p.1")
    core.up("p.2")
    assert core.reply() == Error("failed_to_start_child", "p.1")
    assert core.states() == {"p.0": "running", "p.2": "running"}


def test_scale_of_a_slot_that_is_restarting() -> None:
    """A surplus slot at work is waited for; the call is not lost."""
    core = Core(*pool("p", 2), intensity=5).boot()
    core.exit("p.1")
    assert core.call(Scale("p", 1)) is None
    core.feed(Started("p.1", core.incarnation("p.1")))
    assert core.stopped() == ["p.1"]
    core.obey("p.1")
    assert core.reply() == Ok()


def test_scale_of_what_is_not_there() -> None:
    """Unknown pools and counts below zero are refused."""
    core = Core(*pool("p", 1)).boot()
    assert core.call(Scale("q", 1)) == Error("not_found")
    assert core.call(Scale("p", -1)) == Error("invalid_count", "-1")


def test_terminate_cancels_a_slot_that_scale_is_starting() -> None:
    """A new slot that hangs in its start can be stopped at once; scale goes on without it."""
    core = Core(*pool("p", 1)).boot()
    core.call(Scale("p", 3), "scale")
    core.call(TerminateChild("p.1"), "stop")
    assert core.stopped() == ["p.1"]
    core.up("p.2")
    assert core.reply("scale") == Error("failed_to_start_child", "p.1")
    core.fail("p.1")
    assert core.reply("stop") == Ok()
    assert core.states() == {"p.0": "running", "p.2": "running"}


def test_scale_does_not_take_the_name_of_another_child() -> None:
    """A child that is no slot but is named like one stays what it is."""
    core = Core(*pool("p", 1), child("p.1")).boot()
    core.call(Scale("p", 2))
    assert core.started() == ["p.2"]
