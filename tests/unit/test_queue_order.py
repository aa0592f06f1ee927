"""In which order messages leave: priorities, fair keys, rates."""

import random
from collections import Counter
from typing import Any

import pytest

from tests.queue_world import World, messages
from workers.queues.core import fair
from workers.queues.core.fair import MAX_CHUNK, QUANTUM
from workers.queues.core.limits import Rate

# --- priorities -----------------------------------------------------------------------------------


def test_higher_priorities_go_first() -> None:
    """Within one, first in, first out."""
    world = World(priorities=3)
    for number, priority in enumerate([0, 2, 1, 0, 2, 9]):
        world.put(number, priority=priority)
    world.consumer(1)
    assert world.take() == [1, 4, 5, 2, 0, 3]  # 9 counts as the highest there is


def test_what_returns_goes_to_the_front_of_its_priority() -> None:
    """Not before what is more important."""
    world = World(priorities=2)
    world.put("low")
    world.put("other")
    world.consumer(1, window=1)
    (low,) = world.deliver()
    world.put("high", priority=1)
    world.crash(1, low)
    world.consumer(2)
    assert world.take(2) == ["high", "low", "other"]


def test_drop_oldest_drops_what_is_least_important() -> None:
    """However new it is."""
    world = World(capacity=2, priorities=2, overflow="drop_oldest")
    world.put("high", priority=1)
    world.put("low")
    world.put("high too", priority=1)
    world.consumer(1)
    assert world.take() == ["high", "high too"]


# --- fair keys ------------------------------------------------------------------------------------


def test_a_flood_under_one_key_does_not_hold_up_another() -> None:
    """The light key's message leaves after one turn of the flood's, not after the flood."""
    world = World(capacity=10_000, fair_by="tenant")
    for start in range(0, 3200, 32):
        world.put(*[("flood", n) for n in range(start, start + 32)], key="flood")
    world.put(("light", 0), key="light")
    world.consumer(1, window=10_000)
    order = [tuple(message) for chunk in world.deliver() for message in messages(chunk)]
    assert order.index(("light", 0)) <= QUANTUM + MAX_CHUNK - 1
    assert [n for key, n in order if key == "flood"] == list(range(3200))


def test_the_bound_of_fairness_holds() -> None:
    """At most QUANTUM + MAX_CHUNK - 1 of each other key first, whatever the keys and chunks."""
    chance = random.Random(5)
    for _ in range(30):
        world = World(capacity=100_000, fair_by="tenant")
        keys = [f"k{n}" for n in range(chance.randint(2, 12))]
        waiting: Counter[str] = Counter()
        for _ in range(chance.randint(20, 200)):
            key, count = chance.choice(keys), chance.randint(1, MAX_CHUNK)
            world.put(*[key] * count, key=key)
            waiting[key] += count
        world.consumer(1, window=100_000)
        since: dict[str, Counter[str]] = {key: Counter() for key in waiting}
        for chunk in world.deliver():
            key = chunk.key
            others = since[key]
            assert all(n <= QUANTUM + MAX_CHUNK - 1 for n in others.values()), others
            others.clear()
            for other, counted in since.items():
                if other != key and waiting[other]:
                    counted[key] += chunk.left
            waiting[key] -= chunk.left


def test_keys_without_messages_cost_nothing() -> None:
    """Nothing is remembered of a key that has been served."""
    world = World(fair_by="tenant")
    world.consumer(1)
    for number in range(1000):
        world.put(number, key=f"tenant-{number}")
        world.take()
    order = world.core.stock.order
    assert isinstance(order, fair.Fair)
    assert not order._keys
    assert not order._turns


def test_order_within_a_key_is_kept_over_returns() -> None:
    """What comes back goes before what is behind it."""
    world = World(fair_by="tenant")
    for number in range(3):
        world.put(number, key="a")
    world.put("x", key="b")
    world.consumer(1, window=1)
    (first,) = world.deliver()
    world.crash(1, first)
    world.consumer(2)
    taken = world.take(2)
    assert [value for value in taken if value != "x"] == [0, 1, 2]


def test_drop_oldest_drops_from_the_key_that_has_most() -> None:
    """A flood drops its own."""
    world = World(capacity=4, fair_by="tenant", overflow="drop_oldest")
    world.put("light", key="light")
    for number in range(10):
        world.put(number, key="flood")
    world.consumer(1)
    assert sorted(map(str, world.take())) == ["7", "8", "9", "light"]


def test_drop_oldest_finds_what_to_drop_among_many_keys() -> None:
    """What it has dropped before does not count as the most of a key."""
    world = World(capacity=4, fair_by="tenant", overflow="drop_oldest")
    assert [world.put(number, key=str(number)) for number in range(12)] == [""] * 12
    world.consumer(1)
    assert len(world.take()) == 4
    assert world.balanced()


# --- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "burst"), [(10.0, 1.0), (10.0, 5.0), (1000.0, 100.0), (0.5, 2.0)])
def test_a_rate_holds_over_every_stretch_of_time(rate: float, burst: float) -> None:
    """In any t seconds at most rate * t + burst; and no less, if there is more to send."""
    limit, sent, now = Rate(rate, burst), list[float](), 1000.0
    chance = random.Random(1)
    for _ in range(2000):
        allowed = limit.allowed(now)
        count = chance.randint(0, allowed) if allowed else 0
        limit.spend(count, now)
        sent += [now] * count
        now += chance.random() * 2 / rate
    for first in range(0, len(sent), 7):
        for last in range(first, min(first + 200, len(sent))):
            stretch = sent[last] - sent[first]
            assert last - first + 1 <= rate * stretch + burst + 1e-3
    greedy, now, total = Rate(rate, burst), 1000.0, 0
    while now < 1000.0 + 100 / rate:
        allowed = greedy.allowed(now)
        greedy.spend(allowed, now)
        total += allowed
        now = max(now, greedy.ready_at()) + 1e-9
    assert total >= 99


def test_a_queue_delivers_at_its_rate() -> None:
    """A large chunk is cut to it; the loop is told when the next one may go."""
    world = World(rate=(10.0, 2.0))
    world.put(*range(10))
    world.consumer(1)
    assert world.delivered() == [(1, [0, 1], 1)]
    came: list[float] = []
    while len(came) < 8:
        due = world.core.next_deadline()
        assert due > world.now
        world.now = due + 1e-6
        came += [world.now] * sum(map(len, map(messages, world.deliver())))
    assert came[-1] - 1000.0 == pytest.approx(0.8, abs=0.01)


def test_a_key_that_has_used_up_its_rate_is_passed_over() -> None:
    """Others go on; it goes on when its time has come."""
    world = World(fair_by="tenant", rate_per_key=(1.0, 1.0))
    world.put("a", "b", key="slow")
    world.put("x", key="other")
    world.consumer(1)
    assert world.take() == ["a", "x"]
    due = world.core.next_deadline()
    assert due == pytest.approx(1001.0)
    world.now = due + 1e-6
    assert world.take() == ["b"]


def test_a_key_does_not_get_a_new_rate_by_being_empty() -> None:
    """What it has used up is remembered as long as it matters, and no longer."""
    world = World(fair_by="tenant", rate_per_key=(1.0, 1.0))
    world.consumer(1)
    world.put("a", key="k")
    assert world.take() == ["a"]
    world.put("b", key="k")
    assert world.take() == []
    world.now += 1.01
    assert world.take() == ["b"]


def test_rates_of_many_keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million tenants that were here once are not kept."""
    monkeypatch.setattr(fair, "MANY_RATES", 10)
    world = World(fair_by="tenant", rate_per_key=(10.0, 1.0))
    order = world.core.stock.order
    assert isinstance(order, fair.Fair)
    order._many = 10
    world.consumer(1)
    for number in range(1000):
        world.put(number, key=f"k{number}")
        world.take()
        world.now += 1.0
    assert len(order._rates) < 40


@pytest.mark.parametrize("options", [{}, {"priorities": 3}, {"fair_by": "tenant"}])
def test_the_age_of_a_queue_is_that_of_its_oldest_message(options: dict[str, Any]) -> None:
    """Waiting or worked on; what is delayed on purpose does not count."""
    world = World(**options)
    assert world.core.oldest_put() is None
    world.put("delayed", delay=3600.0)
    assert world.core.oldest_put() is None
    world.put("a", key="k")
    world.wait(5.0)
    world.put("b", priority=2)
    assert world.core.oldest_put() == 1000.0
    world.consumer(1, window=100)
    chunks = world.deliver()
    assert world.core.oldest_put() == 1000.0
    for chunk in chunks:
        if messages(chunk) == ["a"]:
            world.ack(1, chunk)
    assert world.core.oldest_put() == 1005.0
