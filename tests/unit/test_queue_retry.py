"""Retries: attempts, backoff with full jitter, the budget, and the dead letters at their end."""

from tests.queue_world import START, World, messages
from workers.queues.core.retry import FLOOR, SAVED_SECONDS, Budget, backoff


def test_backoff_doubles_up_to_its_cap() -> None:
    """With the jitter at its most: base, twice, four times ... and never more than the cap."""
    delays = [backoff(attempt, 0.1, 1.0, lambda: 1.0) for attempt in (1, 2, 3, 4, 5, 2000)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_is_full() -> None:
    """A delay is anything from nothing to the whole."""
    assert backoff(3, 0.1, 60.0, lambda: 0.0) == 0.0
    assert backoff(3, 0.1, 60.0, lambda: 0.5) == 0.2


def test_a_failed_message_comes_again_after_its_backoff() -> None:
    """One attempt older, alone, and not before; the others of its chunk go on."""
    world = World(retry_backoff=(2.0, 60.0))
    world.put("a", "b", "c")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.nack(1, chunk, 1)
    world.ack(1, chunk)
    world.wait(1.9)
    assert world.deliver() == []
    world.wait(0.2)
    assert world.delivered() == [(1, ["b"], 2)]
    assert (world.core.counts.settled, world.core.counts.retried) == (2, 1)
    assert world.balanced()


def test_a_handler_may_say_when() -> None:
    """Retry(after=) replaces the backoff."""
    world = World(retry_backoff=(2.0, 60.0))
    world.put("a")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.nack(1, chunk, delay=30.0)
    assert world.core.next_deadline() == START + 30.0
    world.wait(29.0)
    assert world.deliver() == []
    world.wait(1.0)
    assert world.delivered() == [(1, ["a"], 2)]


def test_a_message_that_fails_too_often_is_dead() -> None:
    """With the error and the traceback of its last failure."""
    world = World(max_attempts=3)
    world.put("a")
    world.consumer(1)
    for attempt in (1, 2, 3):
        (chunk,) = world.deliver()
        assert chunk.attempt == attempt
        world.nack(1, chunk, delay=0.0, error=f"ValueError: {attempt}", traceback="line 7")
        world.wait(0.1)
    (letter,) = world.dead
    assert (letter.reason, letter.attempts) == ("failed", 3)
    assert (letter.error, letter.traceback) == ("ValueError: 3", "line 7")
    assert world.core.books.depth == 0


def test_the_bound_holds_over_retries() -> None:
    """What waits for its next attempt has its place in the queue."""
    world = World(capacity=2)
    world.put("a", "b")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.nack(1, chunk, 0, delay=100.0)
    world.nack(1, chunk, 1, delay=100.0)
    assert world.core.books.depth == 2
    assert world.put("c") == "wait"


# --- the budget -----------------------------------------------------------------------------------


def test_a_budget_pays_for_what_was_saved_and_then_for_its_floor() -> None:
    """After the savings, FLOOR retries a second and no more."""
    budget = Budget(0.1)
    saved = int(FLOOR * SAVED_SECONDS)
    assert [budget.take(START) for _ in range(saved)] == [0.0] * saved
    wait = budget.take(START)
    assert 0 < wait <= 1 / FLOOR + 1e-9
    assert budget.take(START + wait + 1e-9) == 0.0
    assert budget.take(START + wait + 1e-9) > 0


def test_first_tries_pay_for_retries() -> None:
    """A tenth of a retry each."""
    budget = Budget(0.1)
    while not budget.take(START):
        pass
    budget.first_tries(19)
    assert [budget.take(START) == 0.0 for _ in range(2)] == [True, False]


def test_a_storm_of_retries_is_spread_out() -> None:
    """A thousand messages that fail at once come again at the rate of the budget, all of them."""
    world = World(capacity=1000, retry_backoff=(0.001, 0.001), max_attempts=5)
    for number in range(1000):
        world.put(number)
    world.consumer(1, window=1000)
    for chunk in world.deliver():
        world.nack(1, chunk)
    began = world.now
    came: list[float] = []
    again: list[object] = []
    while len(again) < 1000:
        world.wait(0.1)
        for chunk in world.deliver():
            came.append(world.now - began)
            again += messages(chunk)
            world.ack(1, chunk)
    saved = FLOOR * SAVED_SECONDS + 0.1 * 1000
    for second in range(int(came[-1])):
        assert sum(at <= second for at in came) <= saved + FLOOR * (second + 1)
    assert sorted(again) == list(range(1000))  # type: ignore[type-var]


def test_without_a_budget_retries_come_when_they_are_due() -> None:
    """It can be switched off."""
    world = World(capacity=1000, retry_budget=None, retry_backoff=(0.001, 0.001))
    for number in range(1000):
        world.put(number)
    world.consumer(1, window=1000)
    for chunk in world.deliver():
        world.nack(1, chunk)
    world.wait(0.1)
    assert len(world.deliver()) == 1000
