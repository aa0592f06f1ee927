"""Dead letters and what people do by hand: bounded, never lost in silence, looked at, replayed."""

from typing import Any

import msgspec
import pytest

from tests.queue_world import World
from workers.queues.broker.management import (
    PURGED,
    ClosedError,
    UnknownCommandError,
    UnknownLetterError,
    manage,
)
from workers.queues.core.burial import MEMORY, OOM, Cause
from workers.queues.core.chunk import Chunk
from workers.queues.core.journal import Discarded
from workers.queues.core.leases import Cursor
from workers.queues.core.returns import INQUEST
from workers.queues.frames import Command, Nack


def bury(world: World, *values: Any, **nack: Any) -> None:
    """Let messages die."""
    for value in values:
        world.put(value)
        (chunk,) = world.deliver()
        world.nack(1, chunk, action="dead", **nack)


def do(world: World, name: str, **arguments: Any) -> dict[str, Any]:
    """Carry out a command."""
    return manage(world.core, Command(name, "q", **arguments), world.now)


def test_full_dead_letters_hold_the_queue_up() -> None:
    """Nothing more is delivered, so nothing more dies, and producers are held back."""
    world = World(capacity=3, max_dead=2)
    world.consumer(1)
    bury(world, "a", "b")
    for value in "cde":
        world.put(value)
    assert world.deliver() == []
    assert world.put("f") == "wait"
    do(world, "dead_discard", ids=[world.dead[0].id])
    assert world.take() == ["c", "d", "e"]


def test_letters_are_never_more_than_was_leased_beside_the_bound() -> None:
    """What was delivered before may still die: that many more, and nothing is dropped."""
    world = World(max_dead=2)
    world.consumer(1, window=5)
    for value in range(10):
        world.put(value)
    for chunk in world.deliver():
        world.nack(1, chunk, action="dead")
    assert len(world.dead) == 5
    assert world.deliver() == []
    assert world.balanced()


def test_a_letter_says_which_message_it_was_and_whose() -> None:
    """Whether its consumer has failed it, has ended over it, or was stuck in it."""
    world = World(max_attempts=1, lease=1.0)
    world.put(*"abcd")
    world.consumer(1)
    [chunk] = world.deliver()
    world.core.nack(1, chunk.id, 1, Nack("dead"), world.now, "w.0#1", 7)  # the second one
    cells = (Cursor(chunk.id, 2, True),)
    world.core.looked_at(1, cells, world.now, lambda: cells, "w.0#1", 7)
    world.now += 2.0
    world.core.looked_at(1, cells, world.now, lambda: cells, "w.0#1", 7)
    world.consumer(2)
    found = {left.id: left for left in world.deliver()}
    [last] = found.values()
    cause = Cause("crashed", worker="w.1#3", process=9)
    world.core.leave(2, (Cursor(last.id, last.done, True),), world.now, cause)
    said = [(one.number, one.reason, one.worker, one.process) for one in world.dead]
    assert said == [
        (2, "rejected", "w.0#1", 7), (3, "stuck", "w.0#1", 7), (4, "crashed", "w.1#3", 9),
    ]  # fmt: skip


def test_two_ends_for_memory_bury_a_message() -> None:
    """Whatever else it has failed of in between; what came along with it is not charged."""
    world = World()
    world.put(*"abc")
    for number, cause in enumerate((MEMORY, "crashed", MEMORY), start=1):
        world.consumer(number)
        chunk = world.deliver()[0]
        assert not world.dead
        world.core.leave(number, (Cursor(chunk.id, 0, True),), world.now, Cause(cause))
    [letter] = world.dead
    assert (letter.reason, letter.attempts) == (MEMORY, 3)
    world.consumer(4)
    assert sorted(world.take(4)) == ["b", "c"]


def ended(world: World, number: int, chunk: Chunk) -> None:
    """Let a consumer end over a message; what of is not known."""
    cause = Cause("crashed", worker=f"w.0#{number}", process=4710 + number)
    world.core.leave(number, (Cursor(chunk.id, 0, True),), world.now, cause)


def test_two_kills_for_want_of_memory_bury_a_message() -> None:
    """What a worker died of is told after its end: what is under suspicion by then waits for it."""
    world = World(max_attempts=8)
    world.put(*"abc")
    world.consumer(1)
    ended(world, 1, world.deliver()[0])
    world.consumer(2)
    chunk = world.deliver()[0]  # at once: an end is no reason to wait
    world.core.out_of_memory("w.0#1", world.now)
    world.core.out_of_memory("w.0#1", world.now)  # counts once
    ended(world, 2, chunk)
    world.consumer(3)
    assert world.take(3) == ["b", "c"]
    world.core.out_of_memory("another#2", world.now)
    assert not world.dead
    world.core.out_of_memory("w.0#2", world.now)
    [letter] = world.dead
    assert (letter.reason, letter.attempts) == (OOM, 2)
    assert (letter.worker, letter.process) == ("w.0#2", 4712)
    assert "w.0#2" in letter.error
    assert world.balanced()


def test_a_second_end_that_was_not_for_memory_is_tried_again() -> None:
    """After the moment in which it would have been known."""
    world = World(max_attempts=8)
    world.put("a")
    for number in (1, 2):
        world.consumer(number)
        [chunk] = world.deliver()
        ended(world, number, chunk)
        if number == 1:
            world.core.out_of_memory("w.0#1", world.now)
    world.consumer(3)
    assert world.deliver() == []
    world.now += INQUEST
    assert world.delivered() == [(3, ["a"], 3)]
    assert world.balanced()


def test_bytes_of_letters_are_bounded_too() -> None:
    """By the bytes of the queue."""
    world = World(max_bytes=100, max_dead=1000)
    world.consumer(1)
    bury(world, "x" * 60, "y" * 60)
    world.put("z")
    assert world.deliver() == []


def test_what_expires_waits_for_room_among_the_letters() -> None:
    """It is neither delivered nor lost."""
    world = World(max_dead=1)
    world.consumer(1)
    bury(world, "a")
    world.put("b", ttl=1.0)
    world.wait(5.0)
    assert (len(world.dead), world.core.books.depth) == (1, 1)
    do(world, "dead_discard")
    world.wait(2.0)
    assert [letter.reason for letter in world.dead] == ["expired"]


def test_letters_may_have_an_age() -> None:
    """Those that are older are discarded, and counted."""
    world = World(dead_ttl=10.0)
    world.consumer(1)
    bury(world, "a")
    world.wait(5.0)
    bury(world, "b")
    world.wait(6.0)
    assert [letter.message for letter in world.dead] == [b"\xa1b"]
    assert world.core.counts.discarded == 1


def test_letters_are_listed_page_by_page_and_shown_whole() -> None:
    """A list shows no traceback and the beginning of large messages; a letter is all there is."""
    world = World(max_bytes=100_000)
    world.consumer(1)
    bury(world, "a", "b" * 10_000, "c", error="ValueError: no", traceback="line 1")
    listed = do(world, "dead_list", offset=1, limit=1)
    (letter,) = listed["letters"]
    assert (listed["total"], letter["size"], len(letter["message"])) == (3, 10_003, 4096)
    assert (letter["error"], letter["traceback"]) == ("ValueError: no", "")
    (whole,) = do(world, "dead_show", ids=[letter["id"]])["letters"]
    assert msgspec.msgpack.decode(whole["message"]) == "b" * 10_000
    assert whole["traceback"] == "line 1"


def test_a_replayed_letter_is_a_new_message() -> None:
    """With its options, at its first attempt; the letter is gone."""
    world = World(durable="full")
    world.consumer(1)
    world.put("a", key="k", ttl=60.0)
    (chunk,) = world.deliver()
    world.nack(1, chunk, action="dead")
    (letter,) = world.dead
    world.wait(100.0)
    assert do(world, "dead_replay", ids=[letter.id]) == {"replayed": 1, "left": 0}
    (again,) = world.deliver()
    assert (again.attempt, again.key, again.expires) == (1, "k", world.now + 60.0)
    assert world.dead == []
    assert Discarded(letter.id) in world.journal
    assert world.core.counts.replayed == 1


def test_replay_stops_where_there_is_no_room() -> None:
    """The rest stay letters."""
    world = World(capacity=2)
    world.consumer(1)
    bury(world, "a", "b", "c")
    assert do(world, "dead_replay") == {"replayed": 2, "left": 1}
    assert [letter.message for letter in world.dead] == [b"\xa1c"]


@pytest.mark.parametrize("closes", ["drain", "hold"])
def test_nothing_is_replayed_into_a_queue_that_was_drained(closes: str) -> None:
    """It takes nothing in; the error says how it is opened, and the letters stay."""
    world = World()
    world.consumer(1)
    bury(world, "a")
    do(world, closes)
    with pytest.raises(ClosedError, match="supervisor queue reopen q"):
        do(world, "dead_replay")
    assert len(world.dead) == 1
    do(world, "reopen")
    assert do(world, "dead_replay") == {"replayed": 1, "left": 0}


@pytest.mark.parametrize("name", ["dead_show", "dead_replay", "dead_discard"])
def test_a_letter_that_is_not_there_is_named(name: str) -> None:
    """The error says which."""
    with pytest.raises(UnknownLetterError, match="no dead letter 7"):
        do(World(), name, ids=[7])


def test_an_unknown_command_says_which_there_are() -> None:
    """Nothing happens."""
    with pytest.raises(UnknownCommandError, match=r"pause, resume.*dead_discard"):
        do(World(), "explode")


# --- the queue by hand ----------------------------------------------------------------------------


def test_a_paused_queue_takes_in_and_gives_nothing_out() -> None:
    """Until it is resumed."""
    world = World()
    world.consumer(1)
    do(world, "pause")
    world.put("a")
    assert world.deliver() == []
    do(world, "resume")
    assert world.take() == ["a"]


def test_draining_says_how_much_is_left() -> None:
    """Nothing comes in; when nothing is left it can be opened again."""
    world = World()
    world.put("a", "b")
    assert do(world, "drain") == {"closed": True, "left": 2}
    assert world.put("c") == "closed"
    world.consumer(1)
    world.take()
    assert do(world, "drain")["left"] == 0
    do(world, "reopen")
    assert world.put("c") == ""


def test_purging_drops_what_nobody_has() -> None:
    """Waiting, scheduled and delayed; what is worked on stays."""
    world = World()
    world.consumer(1, window=1)
    world.put("leased")
    (chunk,) = world.deliver()
    world.put("b", "c")
    world.put("d", delay=60.0)
    assert do(world, "purge") == {"dropped": 3, "left": 1, "upto": 4, "more": False}
    world.ack(1, chunk)
    world.wait(100.0)
    assert world.take() == []
    assert world.balanced()
    assert world.core.books.bytes == 0


@pytest.mark.parametrize("kind", [{}, {"priorities": 3}, {"fair_by": "key"}], ids=str)
def test_a_purge_goes_page_by_page_and_ends(kind: dict[str, Any]) -> None:
    """A page is bounded; what is put after the first one was asked for is not meant, and stays."""
    world = World(capacity=5 * PURGED, max_bytes=1 << 30, **kind)
    for number in range(2 * PURGED + 5):
        world.put(number, priority=number % 3, key=str(number % 7))
    first = do(world, "purge")
    assert (first["dropped"], first["more"]) == (PURGED, True)
    world.put("new", priority=2, key="0")
    found = [do(world, "purge", offset=first["upto"]) for _ in range(2)]
    assert [(one["dropped"], one["more"]) for one in found] == [(PURGED, True), (5, False)]
    world.consumer(1)
    assert world.take() == ["new"]
    assert world.balanced()


def test_peeking_changes_nothing() -> None:
    """Any stretch of what waits can be looked at."""
    world = World()
    world.put("a", "b", "c", priority=1)
    world.put("d", "e", delay=5.0)
    seen = do(world, "peek", offset=1, limit=3)
    assert [msgspec.msgpack.decode(one["message"]) for one in seen["messages"]] == ["b", "c", "d"]
    assert [one["priority"] for one in seen["messages"]] == [1, 1, 0]
    assert seen["depth"] == world.core.books.depth == 5
