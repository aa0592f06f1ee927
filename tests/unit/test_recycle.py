"""The arbiter's single decisions."""

from dataclasses import replace
from itertools import pairwise

import pytest

from supervisor.core.census import Policy, PoolView, Seen, SlotView
from supervisor.core.orders import HOLD_LEAST, ORDER_PATIENCE, QUICK_LIVES
from supervisor.core.recycle import (
    Action,
    Class,
    Memory,
    StartFirst,
    StopFirst,
    Trim,
    arbitrate,
    bounds_of,
    next_age,
)
from supervisor.core.thresholds import (
    MIB,
    UNLIMITED,
    Limits,
    Oddity,
    Surroundings,
    effective,
    spread,
    width,
)
from tests.recycle_world import Child, World

BUDGET = 4096 * MIB
LIMITS = Limits(memory_soft=100 * MIB, memory_hard=200 * MIB, trim=False)


def slot(number: int = 0, **fields: object) -> SlotView:
    """Make a slot that is well, but for these fields."""
    well = SlotView(f"app/web.{number}", "web", number, 1, age=1000.0, baseline=20 * MIB)
    return replace(well, **{"private": 20 * MIB, **fields})  # type: ignore[arg-type]


def seen(*slots: SlotView, limits: Limits = LIMITS, **fields: object) -> Seen:
    """Make a tree of one child with these slots."""
    ready = sum(one.ready for one in slots)
    pool = fields.pop("pool", PoolView(limits, target=len(slots), ready=ready))
    policy = fields.pop("policy", Policy(BUDGET, max_concurrent=10))
    used = sum(one.private for one in slots)
    return replace(
        Seen(policy, slots, {"web": pool}, used=used),  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


def decide(look: Seen, memory: Memory | None = None, now: float = 1e6) -> tuple[Action, ...]:
    """Look once."""
    return arbitrate(memory or Memory(), look, now)[1]


def test_the_next_limit_of_age_is_known() -> None:
    """Of the slot that is due first, with its stagger; not before its least lifetime."""
    limits = replace(LIMITS, max_age=2000.0)
    look = seen(slot(age=1500.0), slot(1, age=1700.0), limits=limits)
    left = next_age(look)
    assert 390.0 < left < 410.0  # the threshold of slot 1 is 5 % higher
    later = [replace(one, age=one.age + left + 0.1) for one in look.slots]
    assert [type(action) for action in decide(replace(look, slots=tuple(later)))] == [StartFirst]
    young = replace(LIMITS, max_age=10.0, min_lifetime=60.0)
    assert next_age(seen(slot(age=20.0), limits=young)) == 40.0
    never = replace(LIMITS, max_age=float("inf"))
    assert next_age(seen(slot(), limits=never)) == float("inf")
    assert next_age(seen(slot(ready=False), limits=limits)) == float("inf")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"private": 201 * MIB}, Class.HARD),
        ({"private": 90 * MIB, "trend": 60.0 * MIB}, Class.ETA),
        ({"private": 120 * MIB}, Class.SOFT),
        ({"fds": 900}, Class.HANDLES),
        ({"threads": 9}, Class.HANDLES),
        ({"temp": 51 * MIB}, Class.TEMP),
        ({"age": 90_000.0}, Class.AGE),
        ({"messages": 2_000}, Class.MESSAGES),
    ],
)
def test_each_limit_has_its_class(fields: dict[str, object], why: Class) -> None:
    """A slot over one of its limits is replaced, the new process first, for that reason."""
    limits = replace(LIMITS, max_messages=1_000, max_temp=50 * MIB)
    [action] = decide(seen(slot(**fields), limits=limits))
    assert isinstance(action, StartFirst)
    assert (action.path, action.why) == ("app/web.0", why)


def test_a_slot_within_its_limits_is_left_alone() -> None:
    """Nothing is done about a tree that is well."""
    assert decide(seen(slot(0), slot(1, private=99 * MIB))) == ()


def test_shared_memory_is_no_reason() -> None:
    """Only private bytes count: 200 MiB shared with the template are not seen at all (T9)."""
    assert decide(seen(slot(private=MIB, baseline=MIB))) == ()


def test_the_gentle_step_comes_first_and_may_be_enough() -> None:
    """Over the soft limit a worker is asked to trim; what it gives back keeps it."""
    limits = replace(LIMITS, trim=True)
    over = seen(slot(private=120 * MIB), limits=limits)
    memory, actions = arbitrate(Memory(), over, 1e6)
    assert actions == (Trim("app/web.0"),)
    memory, actions = arbitrate(memory, over, 1e6 + 1)
    assert actions == ()
    better = seen(slot(private=80 * MIB), limits=limits)
    memory, actions = arbitrate(memory, better, 1e6 + 3)
    assert actions == ()
    _, actions = arbitrate(memory, seen(slot(private=96 * MIB), limits=limits), 1e6 + 4)
    assert actions == ()


def test_a_trim_that_is_not_enough_ends_in_a_recycle() -> None:
    """Below the threshold, but above nine tenths of it, a trimmed worker is recycled all the same.

    It would be back over it in no time.
    """
    limits = replace(LIMITS, trim=True)
    memory, _ = arbitrate(Memory(), seen(slot(private=120 * MIB), limits=limits), 1e6)
    [action] = decide(seen(slot(private=96 * MIB), limits=limits), memory, 1e6 + 3)
    assert isinstance(action, StartFirst)


def test_one_slot_of_a_child_at_a_time_the_most_urgent_first() -> None:
    """Of three slots over a limit, the one over its hard limit is replaced, the others wait."""
    look = seen(slot(0, private=150 * MIB), slot(1, private=210 * MIB), slot(2, private=160 * MIB))
    memory, [action] = arbitrate(Memory(), look, 1e6)
    assert action == StartFirst("app/web.1", Class.HARD, patience=5.0)
    assert [deferral.path for deferral in memory.deferred] == ["app/web.2", "app/web.0"]


def test_no_room_for_two_stops_first_only_in_an_emergency() -> None:
    """Without memory for a second process only classes hard and budget go on, stop-first."""
    assert decide(seen(slot(private=150 * MIB), available=100 * MIB)) == ()
    [action] = decide(seen(slot(private=210 * MIB), available=100 * MIB))
    assert action == StopFirst("app/web.0", Class.HARD)


def test_over_budget_the_one_that_grew_most_goes() -> None:
    """The slot furthest above its own baseline, not the largest, pays for the tree."""
    large = slot(0, private=90 * MIB, baseline=85 * MIB)
    grown = slot(1, private=60 * MIB, baseline=5 * MIB)
    [action] = decide(seen(large, grown, used=round(0.95 * BUDGET)))
    assert action == StartFirst("app/web.1", Class.BUDGET)
    [action] = decide(seen(large, grown, used=round(0.98 * BUDGET)))
    assert action == StopFirst("app/web.1", Class.BUDGET)
    [action] = decide(seen(large, grown, psi_full=11.0))
    assert isinstance(action, StopFirst)


@pytest.mark.parametrize(
    "fields",
    [
        {"running": False},
        {"psi_some": 30.0},
        {"pool": PoolView(LIMITS, crash_loop=True)},
        {"pool": PoolView(LIMITS, target=2, ready=1)},
        {"pool": PoolView(LIMITS, queue_used=0.95, busy=0.95)},
    ],
)
def test_a_planned_recycle_waits_for_a_good_moment(fields: dict[str, object]) -> None:
    """Not while starting, pressed, crash-looping (T7), short of workers, overloaded."""
    assert decide(seen(slot(private=150 * MIB), **fields)) == ()


@pytest.mark.parametrize(
    "pool", [{"queue_used": 0.95, "busy": 0.5}, {"queue_used": 0.5, "busy": 1.0}]
)
def test_a_full_queue_or_busy_workers_alone_are_no_hindrance(pool: dict[str, float]) -> None:
    """Only when both hold would a worker less be felt."""
    look = seen(slot(private=150 * MIB), pool=PoolView(LIMITS, **pool))  # type: ignore[arg-type]
    assert len(decide(look)) == 1


@pytest.mark.parametrize(
    "fields", [{"running": False}, {"pool": PoolView(LIMITS, queue_used=0.95, busy=0.95)}]
)
def test_an_emergency_waits_for_no_good_moment(fields: dict[str, object]) -> None:
    """Over its hard limit a worker goes while the tree starts, and while all are busy."""
    [action] = decide(seen(slot(private=250 * MIB), **fields))
    assert action == StartFirst("app/web.0", Class.HARD, patience=5.0)


def test_a_young_worker_is_not_recycled_as_planned() -> None:
    """min_lifetime holds for what is planned, not for an emergency."""
    assert decide(seen(slot(private=150 * MIB, age=59.0))) == ()
    assert decide(seen(slot(private=250 * MIB, age=59.0))) != ()


def test_three_quick_lives_hold_off() -> None:
    """A leak that recycling does not cure is not recycled ever faster: the wait doubles."""
    memory, now = Memory(), 1e6
    for generation in range(1, QUICK_LIVES + 1):
        look = seen(slot(private=150 * MIB, age=100.0, generation=generation))
        memory, actions = arbitrate(memory, look, now)
        assert len(actions) == 1
        fresh = seen(slot(generation=generation + 1, age=0.0))
        memory, _ = arbitrate(memory, fresh, now + 2)
        now += 100
    look = seen(slot(private=150 * MIB, age=100.0, generation=QUICK_LIVES + 1))
    memory, actions = arbitrate(memory, look, now - 98 + HOLD_LEAST - 1)
    assert actions == ()
    assert [deferral.because for deferral in memory.deferred] == ["recycle_thrash"]
    assert decide(look, memory, now - 98 + HOLD_LEAST + 1) != ()


def test_a_replacement_that_never_gets_ready_leaves_the_old_one() -> None:
    """After two failures the next try waits a minute, then two ...; the old one serves on (T5)."""
    child = Child(2, LIMITS, leak=0.001 * MIB, fails=lambda _: True, start=lambda _: 1.0)
    world = World({"web": child}, Policy(BUDGET), seed=1)
    world.run(until=2 * 86_400)
    assert world.deficit == 0.0
    assert all(one.generation == 1 for one in world.slots.values())
    times = [when for when, path in world.starts if path == "web.0"]
    gaps = [round(later - earlier) for earlier, later in pairwise(times)]
    assert gaps[0] < 10
    assert all(later <= 2 * earlier + 10 for earlier, later in pairwise(gaps[1:]))
    assert gaps[-1] > 3_500
    assert world.memory.failed == len(world.starts)


def test_an_order_that_nobody_carries_out_has_failed() -> None:
    """An order that is not seen under way in time is given again."""
    look = seen(slot(private=150 * MIB))
    memory, _ = arbitrate(Memory(), look, 1e6)
    memory, actions = arbitrate(memory, look, 1e6 + ORDER_PATIENCE - 1)
    assert actions == ()
    memory, actions = arbitrate(memory, look, 1e6 + ORDER_PATIENCE + 1)
    assert len(actions) == 1
    assert memory.failed == 1


def test_all_slots_crossing_at_once_are_replaced_one_after_the_other() -> None:
    """Eight slots over the limit in one moment: one at a time, all through in bounded time (T3)."""
    limits = replace(LIMITS, max_age=1.0, min_lifetime=0.0)
    world = World({"web": Child(8, limits)}, Policy(BUDGET), seed=1)
    world.run(until=20)
    assert {path for _, path in world.starts} == set(world.slots)
    assert world.most_at_once == 1
    assert world.deficit == 0.0


def test_slots_that_grow_alike_ask_while_there_is_time_for_all() -> None:
    """Eight workers of a child are replaced one after the other: the first is so in good time."""
    one = seen(
        slot(private=120 * MIB, trend=2.0 * MIB),
        limits=Limits(memory_soft=150 * MIB, memory_hard=200 * MIB, trim=False),
    )
    assert decide(one) == ()
    limits = one.pools["web"].limits
    slots = [slot(n, private=160 * MIB, age=30.0, trend=2.0 * MIB) for n in range(8)]
    pool = PoolView(limits, target=8, ready=8, cycle=3.0)
    [action] = decide(seen(*slots, limits=limits, pool=pool))
    assert isinstance(action, StartFirst)
    assert action.why is Class.ETA
    assert decide(seen(slots[0], limits=limits, pool=replace(pool, target=1, ready=1))) == ()


def test_a_limit_below_the_baseline_is_raised_and_named() -> None:
    """A worker that needs 100 MiB when fresh is not recycled for ever because of a limit of 90."""
    limits = Limits(memory_soft=90 * MIB, memory_hard=95 * MIB)
    bounds = effective(limits, Surroundings(BUDGET, 4), 100 * MIB)
    assert bounds.soft == 150 * MIB
    assert bounds.hard == 200 * MIB
    assert bounds.oddity is Oddity.HARD_BELOW_BASELINE
    look = seen(slot(private=110 * MIB, baseline=100 * MIB), limits=limits)
    assert decide(look) == ()
    assert bounds_of(look, look.slots[0]).oddity is not None


@pytest.mark.parametrize("baseline", [None, 100 * MIB])
def test_a_worker_is_not_recycled_for_what_it_had_when_it_got_ready(baseline: int | None) -> None:
    """Nor in the half minute until its baseline is known; for what it took since it is."""
    limits = Limits(memory_soft=50 * MIB, memory_hard=60 * MIB, min_lifetime=0.0)
    fresh = {"fresh": 100 * MIB, "baseline": baseline, "age": 1.0}
    assert decide(seen(slot(private=101 * MIB, **fresh), limits=limits)) == ()
    assert decide(seen(slot(private=210 * MIB, **fresh), limits=limits))
    small = {"fresh": 10 * MIB, "baseline": None, "age": 1.0}
    assert decide(seen(slot(private=101 * MIB, **small), limits=limits))


def test_automatic_limits_follow_budget_and_baseline() -> None:
    """A user who sets nothing is protected: 1.5 shares of the budget, at least 192 MiB."""
    few = effective(Limits(), Surroundings(1000 * MIB, 3), 10 * MIB)
    assert (few.hard, few.soft) == (500 * MIB, 300 * MIB)
    many = effective(Limits(), Surroundings(1000 * MIB, 500), 10 * MIB)
    assert many.hard == 192 * MIB
    big = effective(Limits(), Surroundings(1000 * MIB, 500), 100 * MIB)
    assert big.hard == 300 * MIB
    only_soft = effective(Limits(memory_soft=60 * MIB), Surroundings(1000 * MIB, 3), None)
    assert only_soft.hard == 100 * MIB
    unknown = Surroundings(UNLIMITED, 500)
    assert effective(Limits(), unknown, 10 * MIB).hard == UNLIMITED
    assert effective(Limits(memory_hard=90 * MIB), unknown, 10 * MIB).hard == 90 * MIB


def test_thresholds_are_spread_over_the_slots() -> None:
    """Neighbours are apart by more than the jitter; the spread is bounded."""
    values = [spread(100.0, n, 4, 0.2, n / 3) for n in range(4)]
    assert values == sorted(values)
    assert 98.9 < values[0] < values[-1] < 121
    assert width(8, 1.0, 86_400.0) == 0.10
    assert width(1_000, 10.0, 600.0) == 0.50
