"""What a broker finds in its store: it may have been delivered before, and is no retry by that."""

import pytest

from tests.queue_world import World, messages
from workers.queues.frames import Suspicion

MANY = 1000


def test_what_is_restored_says_so_and_is_not_under_suspicion() -> None:
    """Its consumer is told a second attempt; parts of it are told the same."""
    world = World(durable="full")
    world.put("a", "b", "c")
    world.restart()
    world.consumer(1, window=1)
    (chunk,) = world.deliver()
    assert messages(chunk) == ["a"]
    assert (chunk.told, chunk.attempt, chunk.suspect) == (2, 1, Suspicion.NONE)


def test_what_has_failed_before_may_have_ended_a_process() -> None:
    """The store has its attempt, and not how it failed: it is handled alone, to single it out."""
    world = World(durable="full")
    world.put("bad", "good")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.crash(1, chunk)
    world.restart()
    world.consumer(1)
    bad, good = sorted(world.deliver(), key=messages)
    assert (bad.told, bad.suspect) == (3, Suspicion.SUSPECT)
    assert (good.told, good.suspect) == (2, Suspicion.NONE)


@pytest.mark.parametrize("restarts", [1, 5])
def test_restarts_use_up_no_attempts(restarts: int) -> None:
    """Only tries that failed count, however often what was cut or came back was restored."""
    world = World(durable="full", max_attempts=3)
    world.put("a", "b")
    for _ in range(restarts):
        world.restart()
        world.consumer(1, window=1)
        world.deliver()
    for _ in range(3):
        assert world.dead == []
        world.restart()
        world.consumer(1, window=1)
        (chunk,) = world.deliver()
        world.crash(1, chunk)
    assert [(one.message, one.attempts) for one in world.dead] == [(b"\xa1a", 3)]


def test_scheduled_messages_come_in_time_after_a_restart() -> None:
    """They wait for no budget: they are no retries."""
    world = World(durable="full", capacity=10 * MANY)
    for number in range(MANY):
        world.put(number, delay=60.0)
    world.restart()
    world.consumer(1, window=10 * MANY)
    world.wait(61.0)
    assert len(world.deliver()) == MANY


def test_retries_wait_for_their_budget_after_a_restart_and_first_tries_pay_for_it() -> None:
    """As before it."""
    world = World(durable="full", capacity=10 * MANY, retry_budget=0.1)
    for number in range(MANY):
        world.put(number)
    world.consumer(1, window=10 * MANY)
    for chunk in world.deliver():
        world.nack(1, chunk, delay=1.0)
    for number in range(MANY):
        world.put(number)
    world.restart()
    world.consumer(1, window=10 * MANY)
    assert len(world.deliver()) == MANY
    world.wait(1.0)
    assert len(world.deliver()) == 100  # what may be saved
    world.restart()
    world.consumer(1, window=10 * MANY)
    attempts = [chunk.attempt for chunk in world.deliver()]
    assert (attempts.count(1), attempts.count(2)) == (MANY, 100)
    world.wait(0.1)
    assert len(world.deliver()) == 100  # paid by the first tries
