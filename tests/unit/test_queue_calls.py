"""Calls: a producer waits for the result of its message."""

import msgspec
import pytest

from tests.queue_world import World
from workers.queues.core.calls import Answer
from workers.queues.frames import Reply

CALLER = 50


def answered(world: World) -> list[tuple[int, int, object]]:
    """Return the answers since the last time."""
    return [
        (one.caller, one.correlation, msgspec.msgpack.decode(one.reply.body))
        for one in world.core.answers()
    ]


def test_a_reply_settles_its_message_and_goes_to_its_caller() -> None:
    """By the correlation that the caller chose."""
    world = World()
    world.put("question", caller=CALLER, reply=7)
    world.consumer(1)
    (chunk,) = world.deliver()
    world.reply(1, chunk, "answer")
    assert answered(world) == [(CALLER, 7, "answer")]
    assert (world.core.books.depth, world.core.counts.settled) == (0, 1)
    assert len(world.core.calls) == 0


def test_a_call_that_is_given_up_is_dropped_if_nobody_has_it() -> None:
    """And if somebody has, its result goes nowhere."""
    world = World()
    world.put("a", caller=CALLER, reply=1)
    world.put("b", caller=CALLER, reply=2)
    world.consumer(1, window=1)
    (chunk,) = world.deliver()
    world.core.cancel(CALLER, 2)
    world.core.cancel(CALLER, 1)
    world.reply(1, chunk, "late")
    assert answered(world) == []
    assert world.deliver() == []
    assert world.core.counts.dropped == 1
    assert world.balanced()


def test_calls_end_with_their_caller() -> None:
    """Those of others do not."""
    world = World()
    world.put("a", caller=CALLER, reply=1)
    world.put("b", caller=CALLER + 1, reply=1)
    world.core.caller_left(CALLER)
    world.consumer(1)
    (chunk,) = world.deliver()
    world.reply(1, chunk, "yes")
    assert answered(world) == [(CALLER + 1, 1, "yes")]


def test_a_late_result_answers_no_other_call() -> None:
    """A correlation is used again by nobody else: the same number is another caller's."""
    world = World(lease=60.0)
    world.put("a", caller=CALLER, reply=1)
    world.consumer(1)
    (old,) = world.deliver()
    world.core.cancel(CALLER, 1)
    world.put("b", caller=CALLER + 1, reply=1)
    world.reply(1, old, "for a")
    assert answered(world) == []


def test_a_call_comes_again_when_its_consumer_dies() -> None:
    """Its answer still finds the caller."""
    world = World()
    world.put("a", caller=CALLER, reply=3)
    world.consumer(1)
    (chunk,) = world.deliver()
    world.crash(1, chunk)
    world.consumer(2)
    (again,) = world.deliver()
    assert again.attempt == 2
    world.reply(2, again, "done")
    assert answered(world) == [(CALLER, 3, "done")]


@pytest.mark.parametrize("end", ["crashes", "nack", "expires"])
def test_a_call_that_fails_is_its_callers_to_know(end: str) -> None:
    """It is no dead letter."""
    world = World(max_attempts=1)
    world.put("a", caller=CALLER, reply=3, ttl=10.0)
    if end == "expires":
        world.wait(11.0)
    else:
        world.consumer(1)
        (chunk,) = world.deliver()
        if end == "nack":
            world.nack(1, chunk, error="ValueError: no")
        else:
            world.crash(1, chunk)
    (answer,) = world.core.answers()
    assert (answer.caller, answer.correlation, answer.reply.ok) == (CALLER, 3, False)
    why = {"nack": "failed: ValueError: no", "expires": "expired"}
    assert answer.reply.error.startswith(why.get(end, "crashed"))
    assert world.dead == []
    assert world.balanced()


def test_a_call_that_is_settled_without_an_answer_gets_nil() -> None:
    """Its caller does not wait for ever."""
    world = World()
    world.put("a", caller=CALLER, reply=3)
    world.consumer(1)
    (chunk,) = world.deliver()
    world.ack(1, chunk)
    assert world.core.answers() == [Answer(CALLER, 3, Reply(True, b"\xc0"))]


def test_a_purge_tells_callers() -> None:
    """What is dropped by hand is not waited for."""
    world = World()
    world.put("a", caller=CALLER, reply=3)
    for chunk in list(world.core.stock):
        world.core.drop(chunk)
    (answer,) = world.core.answers()
    assert not answer.reply.ok


def test_a_call_is_kept_by_no_store() -> None:
    """After a restart of the broker nobody would wait for it."""
    world = World(durable="full")
    world.put("a", caller=CALLER, reply=3)
    world.consumer(1)
    (chunk,) = world.deliver()
    world.crash(1, chunk)
    assert world.journal == []
