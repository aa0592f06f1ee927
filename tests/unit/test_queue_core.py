"""The pure core of a queue, one claim at a time."""

import pytest

from workers.queues import payload
from workers.queues.core import MAX_DEAD_LETTERS, Chunk, Cursor, QueueCore

NOWHERE = Cursor(0, 0, False)


def queue(capacity: int = 100, max_bytes: int = 10_000, max_attempts: int = 3) -> QueueCore:
    """Make a queue."""
    return QueueCore(capacity, max_bytes, max_attempts, payload.split, payload.join)


def put(core: QueueCore, *messages: object) -> None:
    """Put messages as one chunk."""
    core.put(len(messages), payload.encode(messages))


def consumer(core: QueueCore, key: int, credit: int = 100) -> int:
    """Add a consumer with credit."""
    core.enter(key)
    core.grant(key, credit)
    return key


def messages(chunk: Chunk) -> list[object]:
    """Return what is left of a chunk, decoded."""
    return payload.ChunkDecoder().decode(chunk.body)[chunk.done :]


def delivered(core: QueueCore) -> list[tuple[int, list[object], int]]:
    """Return deliveries as (consumer, messages, attempt)."""
    return [(key, messages(chunk), chunk.attempt) for key, chunk in core.deliveries()]


def test_a_chunk_is_delivered_whole_and_unopened() -> None:
    """What fits the credit goes out as it came in."""
    core = queue()
    put(core, "a", "b", "c")
    consumer(core, 1)
    assert delivered(core) == [(1, ["a", "b", "c"], 1)]


def test_consumers_are_served_in_turn() -> None:
    """Nobody gets everything while another one has credit."""
    core = queue()
    consumer(core, 1)
    consumer(core, 2)
    for number in range(4):
        put(core, number)
    assert [key for key, _, _ in delivered(core)] == [1, 2, 1, 2]


def test_leased_messages_count_for_the_bound() -> None:
    """A message makes room when it is settled, not when it is delivered."""
    core = queue(capacity=2)
    put(core, "a", "b")
    consumer(core, 1)
    ((_, chunk),) = core.deliveries()
    assert not core.fits(1, 2)
    core.ack(1, chunk.id, 1)
    assert core.fits(1, 2)


def test_bytes_are_a_bound_of_their_own() -> None:
    """A queue can be full of a single message."""
    core = queue(max_bytes=20)
    put(core, "x" * 15)
    assert not core.fits(1, 10)


def test_a_chunk_is_cut_for_a_consumer_with_little_credit() -> None:
    """Credit is never exceeded; the rest is for the next one."""
    core = queue()
    put(core, "a", "b", "c")
    consumer(core, 1, credit=2)
    consumer(core, 2)
    assert delivered(core) == [(1, ["a", "b"], 1), (2, ["c"], 1)]


def test_a_consumer_with_work_waits_for_credit_instead_of_a_cut() -> None:
    """Cutting costs: only a consumer that has nothing gets part of a chunk."""
    core = queue()
    put(core, "a")
    put(core, "b", "c", "d")
    consumer(core, 1, credit=3)
    ((_, first),) = core.deliveries()
    core.ack(1, first.id, 1)
    assert delivered(core) == [(1, ["b", "c", "d"], 1)]


def test_acknowledging_is_credit() -> None:
    """A consumer grants once; what it settles it may have again."""
    core = queue()
    consumer(core, 1, credit=1)
    put(core, "a")
    put(core, "b")
    ((_, first),) = core.deliveries()
    assert core.deliveries() == []
    core.ack(1, first.id, 1)
    assert delivered(core) == [(1, ["b"], 1)]


def test_old_and_foreign_acknowledgements_are_ignored() -> None:
    """An ack for what one does not have, or has settled, changes nothing."""
    core = queue()
    put(core, "a", "b")
    consumer(core, 1)
    consumer(core, 2)
    ((_, chunk),) = core.deliveries()
    core.ack(2, chunk.id, 2)
    core.ack(1, chunk.id, 1)
    core.ack(1, chunk.id, 0)
    assert (core.depth, core.counts.settled) == (1, 1)


def test_only_the_message_at_the_cursor_is_blamed() -> None:
    """It returns alone and older; those before it are done, those behind unblamed, in front."""
    core = queue()
    put(core, "a", "bad", "c")
    put(core, "d")
    put(core, "later")
    consumer(core, 1, credit=4)
    first, _ = (chunk for _, chunk in core.deliveries())
    core.leave(1, Cursor(first.id, 1, True))
    consumer(core, 2)
    assert delivered(core) == [
        (2, ["bad"], 2), (2, ["c"], 1), (2, ["d"], 1), (2, ["later"], 1),
    ]  # fmt: skip
    assert core.counts.settled == 1


def test_an_idle_consumer_blames_nobody() -> None:
    """Its chunk returns unsplit, with what is done of it left out."""
    core = queue()
    put(core, "a", "b", "c")
    consumer(core, 1)
    ((_, chunk),) = core.deliveries()
    core.leave(1, Cursor(chunk.id, 1, False))
    consumer(core, 2)
    assert delivered(core) == [(2, ["b", "c"], 1)]


def test_chunks_before_the_cursor_are_done() -> None:
    """Their acknowledgements were still with the consumer when it was killed."""
    core = queue()
    put(core, "a")
    put(core, "b")
    consumer(core, 1)
    _, second = (chunk for _, chunk in core.deliveries())
    core.leave(1, Cursor(second.id, 0, True))
    consumer(core, 2)
    assert delivered(core) == [(2, ["b"], 2)]


@pytest.mark.parametrize("cursor", [NOWHERE, Cursor(1 << 40, 7, True)])
def test_a_cursor_that_is_nowhere_settles_and_blames_nothing(cursor: Cursor) -> None:
    """A consumer that had begun nothing, or wrote nonsense, loses no message."""
    core = queue()
    put(core, "a")
    consumer(core, 1)
    core.deliveries()
    core.leave(1, cursor)
    consumer(core, 2)
    assert delivered(core) == [(2, ["a"], 1)]


def test_a_poison_message_is_dead_after_its_attempts() -> None:
    """It is delivered max_attempts times, then kept with its reason, encoded."""
    core = queue(max_attempts=3)
    put(core, "good", "poison", "fine")
    for key in range(3):
        consumer(core, key)
        chunks = [chunk for _, chunk in core.deliveries()]
        bad = next(chunk for chunk in chunks if "poison" in messages(chunk))
        core.leave(key, Cursor(bad.id, bad.done + messages(bad).index("poison"), True))
    (letter,) = core.dead
    assert (letter.message, letter.attempts) == (b"\xa6poison", 3)
    consumer(core, 9)
    assert delivered(core) == [(9, ["fine"], 1)]
    assert (core.counts.settled, core.counts.dead) == (1, 1)


def test_a_rejected_message_is_dead_and_the_next_go_on() -> None:
    """Those before it are done; its consumer keeps the rest."""
    core = queue()
    put(core, "a", "bad", "c")
    consumer(core, 1)
    ((_, chunk),) = core.deliveries()
    core.reject(1, chunk.id, 1, "not decodable")
    core.ack(1, chunk.id, 3)
    assert [letter.message for letter in core.dead] == [b"\xa3bad"]
    assert (core.depth, core.bytes, core.counts.settled, core.counts.dead) == (0, 0, 2, 1)


@pytest.mark.parametrize(
    "body", [b"\xc1", b"\x93\x01\x02", b"\x91\x01", b"\x93" + b"\x91" * 20_000 + b"\x01\x02\x03"]
)
def test_a_chunk_that_cannot_be_opened_is_buried_once(body: bytes) -> None:
    """A producer that lies about its chunk ends no broker, and takes no room for ever."""
    core = queue(max_bytes=100_000)
    core.put(3, body)
    consumer(core, 1, credit=1)
    assert core.deliveries() == []
    assert (core.depth, core.bytes, core.counts.dead, len(core.dead)) == (0, 0, 3, 1)


def test_dead_letters_are_bounded() -> None:
    """The oldest is dropped, and counted."""
    core = queue()
    consumer(core, 1, credit=1)
    for number in range(MAX_DEAD_LETTERS + 2):
        put(core, number)
        ((_, chunk),) = core.deliveries()
        core.reject(1, chunk.id, 0, "no")
    assert len(core.dead) == MAX_DEAD_LETTERS
    assert (core.counts.dead, core.counts.dead_dropped) == (MAX_DEAD_LETTERS + 2, 2)
