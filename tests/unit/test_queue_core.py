"""The pure core of a queue, one claim at a time: bounds, turns, leases, messages that fail."""

from collections import Counter
from typing import Any

import pytest

from tests.queue_world import World
from workers.queues.core.leases import SILENCE
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


@pytest.mark.parametrize("burst", [0, 3])
def test_a_lone_message_goes_to_whom_it_would_have_gone(burst: int) -> None:
    """Handed over at once, it is leased and counted as one that was put and then delivered."""
    straight, around = World(), World()
    takers: list[list[int]] = [[], []]
    for world in straight, around:
        for number in 1, 2:
            world.consumer(number, 1, burst=burst)
    for message in range(4):
        handed = straight.hand_over(message)
        assert handed is not None
        around.put(message)
        ((number, chunk),) = around.core.deliveries(around.now)
        for world, taker, one, found in (
            (straight, *handed, takers[0]),
            (around, number, chunk, takers[1]),
        ):
            assert world.core.deliveries(world.now) == []
            assert (world.core.books.depth, world.core.leased) == (1, 1)
            world.ack(taker, one)
            found.append(taker)
    assert takers[0] == takers[1]
    assert straight.core.counts == around.core.counts


@pytest.mark.parametrize(
    "definition", [{"ttl": 5.0}, {"rate": (1.0, 5.0)}, {"rate_per_key": (1.0, 5.0)}]
)
def test_where_a_clock_has_a_say_nothing_is_handed_over(definition: dict[str, Any]) -> None:
    """What expires, or is held to a rate, goes through the books first."""
    world = World(**definition)
    world.consumer(1)
    assert world.core.delivery.taker(world.now) == 0


def test_nothing_overtakes_by_being_handed_over() -> None:
    """Not what waits, nor is leased; and nothing is, in a queue that is paused or has no takers."""
    world = World()
    assert world.hand_over("a") is None
    world.consumer(1)
    world.core.delivery.paused = True
    assert world.hand_over("a") is None
    world.put("a")
    world.core.delivery.paused = False
    assert world.hand_over("b") is None
    (chunk,) = world.deliver()
    assert world.hand_over("b") is None
    world.ack(1, chunk)
    assert world.hand_over("b") is not None


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
