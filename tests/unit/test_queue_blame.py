"""Who is charged with the end of a consumer: what it was working on, and nothing else."""

import pytest

from tests.queue_world import NOWHERE, World, messages
from workers.queues.core.burial import Cause
from workers.queues.core.leases import Cursor
from workers.queues.frames import Suspicion


def test_only_the_message_at_the_cursor_is_blamed() -> None:
    """It returns alone and older; those before it are done, those behind unblamed, in front."""
    world = World()
    world.put("a", "bad", "c")
    world.put("d")
    world.put("later")
    world.consumer(1, window=4)
    first, _ = world.deliver()
    world.crash(1, first, 1)
    world.consumer(2)
    assert world.delivered() == [
        (2, ["bad"], 2), (2, ["c"], 1), (2, ["d"], 1), (2, ["later"], 1),
    ]  # fmt: skip
    assert world.core.counts.settled == 1


def test_an_idle_consumer_blames_nobody() -> None:
    """Its chunk returns unsplit, with what is done of it left out."""
    world = World()
    world.put("a", "b", "c")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.leave(1, Cursor(chunk.id, 1, False))
    world.consumer(2)
    assert world.delivered() == [(2, ["b", "c"], 1)]


def test_chunks_before_the_cursor_are_done() -> None:
    """Their acknowledgements were still with the consumer when it was killed."""
    world = World()
    world.put("a")
    world.put("b")
    world.consumer(1)
    _, second = world.deliver()
    world.crash(1, second)
    world.consumer(2)
    assert world.delivered() == [(2, ["b"], 2)]


@pytest.mark.parametrize("cursor", [NOWHERE, Cursor(1 << 40, 7, True)])
def test_a_cursor_that_is_nowhere_settles_and_blames_nothing(cursor: Cursor) -> None:
    """A consumer that had begun nothing, or wrote nonsense, loses no message."""
    world = World()
    world.put("a")
    world.consumer(1)
    world.deliver()
    world.leave(1, cursor)
    world.consumer(2)
    assert world.delivered() == [(2, ["a"], 1)]


def test_each_lane_is_blamed_for_its_own_message() -> None:
    """Of several lanes: busy is suspect, done is settled, what no cell names was never begun."""
    world = World()
    world.put("a", "b", "c", "d")
    world.consumer(1, window=4, lanes=3)
    a, b, c, d = world.deliver()
    assert [messages(chunk) for chunk in (a, b, c, d)] == [["a"], ["b"], ["c"], ["d"]]
    world.leave(1, Cursor(b.id, 0, True), Cursor(a.id, 1, False), Cursor(c.id, 0, True))
    world.consumer(2)
    assert world.delivered() == [(2, ["b"], 2), (2, ["c"], 2), (2, ["d"], 1)]
    assert world.core.counts.settled == 1


def test_a_suspect_is_what_a_consumer_ended_over_until_one_survives_it() -> None:
    """It keeps the mark when it returns unbegun; given back, it is charged with that end only."""
    world = World()
    world.put("bad")
    world.put("ahead")
    world.consumer(1)
    bad, ahead = world.deliver()
    assert (bad.suspect, ahead.suspect) == (Suspicion.NONE, Suspicion.NONE)
    world.crash(1, bad, 0)
    world.consumer(2)
    bad, ahead = world.deliver()
    assert (bad.suspect, ahead.suspect) == (Suspicion.SUSPECT, Suspicion.NONE)
    world.leave(2)
    world.consumer(3)
    bad, ahead = world.deliver()
    assert bad.suspect == Suspicion.SUSPECT
    world.nack(3, bad, 0, delay=0.0)
    (bad,) = world.deliver()
    assert (bad.attempt, bad.suspect) == (3, Suspicion.CHARGED)


@pytest.mark.parametrize("fatal", [False, True])
def test_what_is_given_back_is_charged_only_if_its_process_ends_over_it(fatal: bool) -> None:
    """A retry that was asked for has ended nobody: the first end over it counts as one."""
    world = World()
    world.put("bad")
    world.consumer(1)
    (bad,) = world.deliver()
    world.nack(1, bad, 0, delay=0.0, fatal=fatal)
    (bad,) = world.deliver()
    assert bad.suspect == (Suspicion.CHARGED if fatal else Suspicion.FAILED)


def test_a_lane_behind_what_it_has_said_is_not_blamed_for_the_next_message() -> None:
    """It gave a message back, and ended before its cursor went on: the next was never begun."""
    world = World()
    world.put("bad", "next")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.nack(1, chunk, 0, delay=0.0)
    world.crash(1, chunk, 0)
    world.consumer(2)
    assert sorted(world.delivered()) == [(2, ["bad"], 2), (2, ["next"], 1)]


def test_all_of_a_batch_is_blamed_and_nothing_else() -> None:
    """A batch over three chunks: each of its messages is older by one; the rest is unblamed."""
    world = World()
    world.put("done", "a")
    world.put("b", "c")
    world.put("d", "ahead")
    world.put("later")
    world.consumer(1)
    first, _, third, _ = world.deliver()
    world.leave(1, Cursor(first.id, 1, True, third.id, 1))
    world.consumer(2)
    assert world.delivered() == [
        (2, ["a"], 2), (2, ["b", "c"], 2), (2, ["d"], 2), (2, ["ahead"], 1), (2, ["later"], 1),
    ]  # fmt: skip
    assert (world.core.counts.settled, world.core.counts.redelivered) == (1, 4)
    assert world.balanced()


def test_what_a_batch_has_given_back_is_not_blamed_again() -> None:
    """Its first chunk is settled, and left the books: the rest of it is still under way."""
    world = World()
    world.put("a")
    world.put("b", "c")
    world.put("ahead")
    world.consumer(1)
    first, second, _ = world.deliver()
    world.nack(1, first, 0, delay=0.0)
    world.leave(1, Cursor(first.id, 0, True, second.id, 2))
    world.consumer(2)
    assert sorted(world.delivered()) == [(2, ["a"], 2), (2, ["ahead"], 1), (2, ["b", "c"], 2)]


@pytest.mark.parametrize("last", [1 << 40, 0])
def test_a_batch_that_ends_nowhere_is_one_message(last: int) -> None:
    """A writer of nonsense is charged with what it had begun, and no more."""
    world = World()
    world.put("a", "b")
    world.put("c")
    world.consumer(1)
    first, _ = world.deliver()
    world.leave(1, Cursor(first.id, 0, True, last, 7))
    world.consumer(2)
    assert world.delivered() == [(2, ["a"], 2), (2, ["b"], 1), (2, ["c"], 1)]


def test_a_batch_without_an_attempt_left_is_dead() -> None:
    """All of it was tried as often as it may be."""
    world = World(max_attempts=1)
    world.put("a", "b", "c")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.leave(1, Cursor(chunk.id, 0, True, chunk.id, 2))
    world.consumer(2)
    assert world.delivered() == [(2, ["c"], 1)]
    assert [letter.message for letter in world.dead] == [b"\xa1a", b"\xa1b"]
    assert world.balanced()


def test_a_poison_message_is_dead_after_its_attempts() -> None:
    """It is delivered max_attempts times, then kept with why and when, encoded."""
    world = World(max_attempts=3)
    world.put("good", "poison", "fine")
    for number in range(3):
        world.consumer(number)
        chunks = world.deliver()
        bad = next(chunk for chunk in chunks if "poison" in messages(chunk))
        world.core.leave(
            number,
            (Cursor(bad.id, bad.done + messages(bad).index("poison"), True),),
            world.now,
            Cause("crashed", f"process {number} ended"),
        )
    (letter,) = world.dead
    assert (letter.message, letter.reason, letter.attempts) == (b"\xa6poison", "crashed", 3)
    assert (letter.error, letter.first_put, letter.died) == ("process 2 ended", 1000.0, 1000.0)
    world.consumer(9)
    assert world.delivered() == [(9, ["fine"], 1)]
    assert (world.core.counts.settled, world.core.counts.dead) == (1, 1)
