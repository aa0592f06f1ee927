"""Shedding: what would come too late is refused, and only then."""

import itertools
from collections import deque

import pytest

from tests.queue_world import START, World, messages
from workers.queues.core.shedding import Shedder


def simulate(overflow: str, load: float, seconds: float, ttl: float) -> tuple[int, int, int]:
    """Run a server of 100 messages a second; return (in time, too late or dead, refused)."""
    world = World(capacity=10_000, overflow=overflow, ttl=ttl, on_expired="drop")
    world.consumer(1, window=2)
    in_time = refused = 0
    queue: deque[tuple[int, int]] = deque()
    arrival, service = 1 / (100 * load), 1 / 100
    next_arrival, next_done = world.now, world.now + service
    end = world.now + seconds
    put_at: dict[int, float] = {}
    number = 0
    while world.now < end:
        step = min(next_arrival, next_done)
        world.wait(step - world.now)
        if step == next_arrival:
            number += 1
            put_at[number] = world.now
            refused += world.put(number) != ""
            next_arrival += arrival
        else:
            if queue:
                chunk_id, value = queue.popleft()
                in_time += world.now - put_at[value] <= ttl
                world.core.ack(1, chunk_id, 1, world.now)
            next_done += service
        for chunk in world.deliver():
            queue.append((chunk.id, messages(chunk)[0]))
    return in_time, world.core.counts.expired, refused


@pytest.mark.parametrize("load", [2.0, 4.0])
def test_goodput_under_overload_stays(load: float) -> None:
    """At twice and four times what can be handled, 90 % of the capacity is handled in time."""
    in_time, _, refused = simulate("shed", load, 30.0, 1.0)
    assert in_time >= 0.9 * 100 * 30
    assert refused > 0


def test_nothing_is_shed_while_it_is_in_time() -> None:
    """Below what can be handled, nothing is refused."""
    in_time, expired, refused = simulate("shed", 0.9, 20.0, 1.0)
    assert (expired, refused) == (0, 0)
    assert in_time >= 0.9 * 100 * 20 - 2


def test_a_short_burst_is_not_shed() -> None:
    """Waits above the target for less than the interval are what a queue is for."""
    shedder = Shedder(None)
    shedder.waited(0.05, 1000.0)
    assert not shedder.refuses(10, 0.0, 1000.05)
    shedder.waited(0.001, 1000.06)
    shedder.waited(0.05, 1000.07)
    assert not shedder.refuses(10, 0.0, 1000.16)


def test_a_standing_queue_is_shed_more_and_more() -> None:
    """The longer even the shortest wait is too long, the more is refused; then nothing."""
    shedder = Shedder(None)
    refused: list[float] = []
    now = 1000.0
    while now < 1003.0:
        shedder.waited(0.05, now)
        if shedder.refuses(10, 0.0, now):
            refused.append(now)
        now += 0.001
    gaps = [b - a for a, b in itertools.pairwise(refused)]
    assert refused[0] == pytest.approx(1000.1, abs=0.002)
    assert gaps[0] > 3 * gaps[-1]
    shedder.waited(0.001, now)
    assert not shedder.refuses(10, 0.0, now + 1)


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    """By the rate at which messages were settled lately."""
    shedder = Shedder(None)
    for step in range(100):
        shedder.settled(1, 50, 1000.0 + step / 100)
    assert shedder.refuses(100, 0.5, 1001.0)
    assert not shedder.refuses(10, 0.5, 1001.0)


# --- what is scheduled ----------------------------------------------------------------------------


def stream(world: World, delay: float) -> int:
    """Put a message each 50 ms for a minute, to an idle consumer; count refusals."""
    world.consumer(1)
    refused = 0
    for number in range(1200):
        refused += world.put(number, delay=delay) != ""
        world.wait(0.05)
        world.take()
    return refused


@pytest.mark.parametrize("ttl", [None, 35.0])
def test_a_delay_is_not_a_wait(ttl: float | None) -> None:
    """It was asked for: what is scheduled holds nobody up, and is late only from then on."""
    world = World(capacity=1000, overflow="shed", ttl=ttl)
    assert stream(world, 5.0 if ttl is None else 30.0) == 0


def test_the_backoff_of_a_retry_is_not_a_wait() -> None:
    """Nor is the time that a message was in the hands of a consumer that has ended."""
    world = World(overflow="shed", retry_backoff=(10.0, 10.0))
    world.consumer(1)
    for number in range(20):
        world.put(number)
        (chunk,) = world.deliver()
        world.nack(1, chunk)
    world.wait(10.0)
    assert len(world.deliver()) == 20
    world.put("another")
    world.deliver()
    world.wait(10.0)
    world.leave(1)
    world.consumer(2)
    assert len(world.deliver()) == 21
    world.wait(1.0)
    assert world.put("next") == ""


def test_what_waits_after_its_delay_is_shed_as_ever() -> None:
    """From when it could have been delivered."""
    world = World(overflow="shed")
    for number in range(20):
        world.put(number, delay=5.0)
    world.consumer(1, window=1)
    world.wait(5.0)
    for _ in range(10):
        world.wait(0.1)
        (chunk,) = world.deliver()
        world.ack(1, chunk)
    assert world.put("next") == "shed"


def restored() -> World:
    """Make a queue that was without a broker for a night."""
    world = World(overflow="shed", durable="full")
    for number in range(20):
        world.put(number)
    world.now += 30_000.0
    world.restart()
    return world


def test_the_time_without_a_broker_is_not_a_wait() -> None:
    """What is restored waits from then on; its age is shown as it is."""
    world = restored()
    world.consumer(1)
    assert len(world.deliver()) == 20
    world.wait(1.0)
    assert world.put("next") == ""
    assert world.core.oldest_put() == START


def test_what_waits_after_it_was_restored_is_shed_as_ever() -> None:
    """From then on nobody has taken it."""
    world = restored()
    world.wait(1.0)
    world.consumer(1)
    assert len(world.deliver()) == 20
    world.wait(1.0)
    assert world.put("next") == "shed"
