"""The pure core of a queue, one claim at a time: bounds, leases, blame, order."""

from collections import Counter

import pytest

from tests.queue_world import NOWHERE, World, messages
from workers.queues.core.burial import Cause
from workers.queues.core.leases import SILENCE, Cursor
from workers.queues.frames import Nack


def test_a_chunk_is_delivered_whole_and_unopened() -> None:
    """What fits the window goes out as it came in."""
    world = World()
    world.put("a", "b", "c")
    world.consumer(1)
    assert world.delivered() == [(1, ["a", "b", "c"], 1)]


def test_consumers_are_served_in_turn() -> None:
    """Nobody gets everything while another one has room."""
    world = World()
    world.consumer(1)
    world.consumer(2)
    for number in range(4):
        world.put(number)
    assert [number for number, _, _ in world.delivered()] == [1, 2, 1, 2]


def test_a_fast_consumer_keeps_its_turn() -> None:
    """It is given what it handles in no time before another one is woken, which then keeps it."""
    world = World()
    world.consumer(1, burst=3)
    world.consumer(2, burst=3)
    world.consumer(3)
    for number in range(7):
        world.put(number)
    assert [number for number, _, _ in world.delivered()] == [2, 2, 2, 1, 1, 1, 3]


def test_a_consumer_that_is_awake_goes_before_one_that_sleeps() -> None:
    """Who said something last is next, when another one has enough; others wait for longer."""
    world = World()
    for number in range(4):
        world.consumer(number, burst=2)
    for message in "abc":
        world.put(message)
    first, _, third = world.core.deliveries(world.now)
    assert first[0] != third[0]
    world.ack(*first)
    for message in "def":
        world.put(message)
    *awake, last = (number for number, _, _ in world.delivered())
    assert awake == [third[0], first[0]]
    assert last not in awake


def test_slow_messages_are_spread_over_all_consumers() -> None:
    """Who handles one at a time gets one at a time, while another one has nothing."""
    world = World()
    for number in range(8):
        world.consumer(number, window=25, burst=number % 2)  # by its own word, or by none
    for number in range(8):
        world.put(number)
    assert sorted(number for number, _, _ in world.delivered()) == list(range(8))


def test_a_chunk_of_slow_messages_is_shared_by_all_who_have_nothing() -> None:
    """Eight messages that were put at once, and eight consumers: one each; four consumers: two."""
    for consumers, each in (8, 1), (4, 2), (3, 3):
        world = World()
        for number in range(consumers):
            world.consumer(number, window=25, burst=1)
        world.put(*range(8))
        found = Counter[int]()
        for number, sent, _ in world.delivered():
            found[number] += len(sent)
        assert len(found) == consumers
        assert max(found.values()) == each


def test_a_chunk_that_takes_no_time_is_not_cut() -> None:
    """It is handled before another consumer is awake."""
    world = World()
    for number in range(4):
        world.consumer(number, burst=8)
    world.put(*range(8))
    assert [sent for _, sent, _ in world.delivered()] == [list(range(8))]


def test_who_has_work_has_no_share() -> None:
    """A chunk is not cut for the sake of consumers that cannot begin it yet."""
    world = World()
    world.consumer(1, burst=1)
    world.put("work")
    world.deliver()
    world.consumer(2, burst=1)
    world.put(*range(8))
    assert world.delivered() == [(2, list(range(8)), 1)]


def test_a_fast_consumer_that_is_silent_loses_its_turn() -> None:
    """It may be in a message that takes long for once: the others get what comes meanwhile."""
    world = World()
    for number in range(4):
        world.consumer(number, burst=100)
    world.put("long")
    ((silent, _),) = world.core.deliveries(world.now)
    world.now += 2 * SILENCE
    world.put("a")
    ((other, chunk),) = world.core.deliveries(world.now)
    assert other != silent
    for number in range(20):
        world.ack(other, chunk)
        world.put(number)
        ((again, chunk),) = world.core.deliveries(world.now)
        assert again == other
        world.now += SILENCE / 2


def test_leased_messages_count_for_the_bound() -> None:
    """A message makes room when it is settled, not when it is delivered."""
    world = World(capacity=2)
    world.put("a", "b")
    world.consumer(1)
    (chunk,) = world.deliver()
    assert world.put("c") == "wait"
    world.ack(1, chunk, 1)
    assert world.put("c") == ""


def test_bytes_are_a_bound_of_their_own() -> None:
    """A queue can be full of a single message; its options count too."""
    world = World(max_bytes=20)
    world.put("x" * 15)
    assert world.put("x" * 10) == "wait"
    assert World(max_bytes=20).put("x" * 15, key="tenant") == "wait"


def test_a_chunk_is_cut_for_a_consumer_with_a_small_window() -> None:
    """The window is never exceeded; the rest is for the next one."""
    world = World()
    world.put("a", "b", "c")
    world.consumer(1, window=2)
    world.consumer(2)
    assert world.delivered() == [(1, ["a", "b"], 1), (2, ["c"], 1)]


def test_a_consumer_with_work_waits_for_room_instead_of_a_cut() -> None:
    """Cutting costs: only a consumer that has nothing gets part of a chunk."""
    world = World()
    world.put("a")
    world.put("b", "c", "d")
    world.consumer(1, window=3)
    (first,) = world.deliver()
    world.ack(1, first)
    assert world.delivered() == [(1, ["b", "c", "d"], 1)]


def test_acknowledging_makes_room() -> None:
    """A consumer says its window once; what it settles it may have again."""
    world = World()
    world.consumer(1, window=1)
    world.put("a")
    world.put("b")
    (first,) = world.deliver()
    assert world.deliver() == []
    world.ack(1, first)
    assert world.delivered() == [(1, ["b"], 1)]


def test_a_window_can_be_made_smaller() -> None:
    """The new window replaces the old one; what a consumer has already it keeps."""
    world = World()
    world.consumer(1, window=3)
    for number in range(6):
        world.put(number)
    chunks = world.deliver()
    world.core.window(1, 1, world.now)
    world.ack(1, chunks[0])
    world.ack(1, chunks[1])
    assert world.deliver() == []
    world.ack(1, chunks[2])
    assert world.delivered() == [(1, [3], 1)]


def test_old_and_foreign_acknowledgements_change_nothing_and_are_counted() -> None:
    """An ack for what one does not have is late; one for what is settled is no news."""
    world = World()
    world.put("a", "b")
    world.consumer(1)
    world.consumer(2)
    (chunk,) = world.deliver()
    world.ack(2, chunk)
    world.ack(1, chunk, 1)
    world.ack(1, chunk, 0)
    assert (world.core.books.depth, world.core.counts.settled) == (1, 1)
    assert world.core.counts.late_acks == 1


# --- blame ----------------------------------------------------------------------------------------


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
    """It keeps the mark when it returns unbegun; given back by a consumer, it loses it."""
    world = World()
    world.put("bad")
    world.put("ahead")
    world.consumer(1)
    bad, ahead = world.deliver()
    assert (bad.suspect, ahead.suspect) == (False, False)
    world.crash(1, bad, 0)
    world.consumer(2)
    bad, ahead = world.deliver()
    assert (bad.suspect, ahead.suspect) == (True, False)
    world.leave(2)
    world.consumer(3)
    bad, ahead = world.deliver()
    assert bad.suspect
    world.nack(3, bad, 0, delay=0.0)
    (bad,) = world.deliver()
    assert (bad.attempt, bad.suspect) == (3, False)


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


# --- messages that fail ---------------------------------------------------------------------------


def test_a_rejected_message_is_dead_and_the_next_go_on() -> None:
    """Those before it are done; its consumer keeps the rest."""
    world = World()
    world.put("a", "bad", "c")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.nack(1, chunk, 1, action="dead", reason="undecodable", error="why", traceback="where")
    world.ack(1, chunk)
    (letter,) = world.dead
    assert letter.message == b"\xa3bad"
    assert (letter.reason, letter.error, letter.traceback) == ("undecodable", "why", "where")
    assert (world.core.books.depth, world.core.books.bytes) == (0, 0)
    assert (world.core.counts.settled, world.core.counts.dead) == (2, 1)


@pytest.mark.parametrize(
    "body", [b"\xc1", b"\x93\x01\x02", b"\x91\x01", b"\x93" + b"\x91" * 20_000 + b"\x01\x02\x03"]
)
def test_a_chunk_that_cannot_be_opened_is_buried_once(body: bytes) -> None:
    """A producer that lies about its chunk ends no broker, and takes no room for ever."""
    world = World()
    world.core.put(3, body, world.now)
    world.consumer(1, window=1)
    assert world.deliver() == []
    assert (world.core.books.depth, world.core.books.bytes) == (0, 0)
    assert (world.core.counts.dead, len(world.dead), world.dead[0].whole) == (3, 1, False)


@pytest.mark.parametrize("action", ["retry", "dead"])
def test_a_nack_of_what_cannot_be_opened_buries_it(action: str) -> None:
    """A consumer that could not decode a chunk ends with the same letter, and room again."""
    world = World()
    world.core.put(3, b"\xc1", world.now)
    world.consumer(1, window=3)
    (chunk,) = world.deliver()
    world.core.nack(1, chunk.id, 1, Nack(action), world.now)
    assert (world.core.counts.settled, world.core.counts.dead, len(world.dead)) == (1, 2, 1)
    world.put("next", 2, 3)
    assert world.take() == ["next", 2, 3]
    assert world.balanced()


def test_a_nack_out_of_place_is_late() -> None:
    """Of a message that is settled, or of a chunk that one does not have: nothing happens."""
    world = World()
    world.put("a", "b")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.ack(1, chunk, 1)
    world.nack(1, chunk, 0)
    world.nack(1, chunk, 2)
    world.core.nack(1, chunk.id + 7, 0, Nack(), world.now)
    assert world.core.counts.late_acks == 3
    assert world.core.books.depth == 1
    assert world.balanced()


def test_saying_the_same_again_is_not_late() -> None:
    """A consumer that acknowledges its last chunk twice has lost no lease."""
    world = World()
    world.put("a", "b")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.ack(1, chunk)
    world.ack(1, chunk)
    assert world.core.counts.late_acks == 0
