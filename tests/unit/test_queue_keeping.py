"""What is kept of a durable queue, and when: against a store that does as it is told."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from tests.conformance.store_cases import chunk
from tests.queue_desk import Desk, Disk, Steps
from tests.queue_world import START, World, messages
from workers.queues import payload
from workers.queues.broker.host import QueueHost
from workers.queues.broker.keeping import PATIENCE, REOPEN, REOPEN_AT_MOST, Keeping
from workers.queues.core.journal import Added, Advanced, Change, Remembered, Sequenced
from workers.queues.frames import SIZE, Kind, Options
from workers.queues.store.contract import Ahead, Recovered, State, StoreFailed, StoreFull


def put_body(*values: object, **options: Any) -> memoryview:
    """Make the body of a PUT."""
    encoded = msgspec.msgpack.encode(Options(**options))
    return memoryview(SIZE.pack(len(encoded)) + encoded + payload.encode(values))


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Make a desk, of the definition that a test gives."""
    made = Desk(**getattr(request, "param", {}))
    yield made
    made.producer.close()
    made.theirs.close()


def test_puts_of_a_pass_are_one_write_and_confirmed_after_it(desk: Desk) -> None:
    """With the last sequence of their client in it."""
    desk.put(1, "a")
    desk.put(2, "b")
    assert desk.said() == []
    desk.commit()
    (group,) = desk.disk.written
    assert [type(change) for change in group] == [Added, Added, Sequenced]
    assert group[-1] == Sequenced("me", 2)
    assert desk.said() == [(Kind.CONFIRM, 2)]


def test_acknowledgements_wait_for_company_but_not_for_long(desk: Desk) -> None:
    """Alone they are written after PATIENCE; with a put, at once."""
    desk.put(1, "a")
    desk.commit()
    desk.world.consumer(1)
    assert desk.world.take() == ["a"]
    desk.commit()
    assert len(desk.disk.written) == 1
    assert desk.keeping.due == desk.world.now + PATIENCE
    desk.world.now += PATIENCE
    desk.commit()
    assert desk.disk.written[1:] == [[Advanced(1, 1)]]
    assert desk.keeping.due == math.inf


def test_a_full_store_refuses_puts_and_takes_acknowledgements(desk: Desk) -> None:
    """What could not be kept is not in the queue, and nothing waits for the time then."""
    desk.put(1, "a")
    desk.commit()
    desk.said()
    desk.disk.state = State.FULL
    desk.world.consumer(1)
    desk.world.take()
    desk.put(2, "b")
    desk.commit()
    assert desk.said() == [(Kind.REJECTED, 2)]
    assert desk.keeping.refuses
    assert desk.world.core.books.depth == 0
    assert desk.world.balanced()
    desk.commit()
    assert desk.disk.written[-1][0] == Advanced(1, 1)
    desk.commit()
    assert desk.keeping.due == math.inf
    desk.disk.state = State.OPEN
    desk.tend(0.0)
    assert not desk.keeping.refuses


def test_a_store_with_space_again_is_written_to_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put that it takes is not delivered unwritten because an acknowledgement has to wait."""
    desk.put(1, "a")
    desk.commit()
    desk.said()
    desk.world.consumer(1)
    desk.world.take()
    desk.commit()

    def full(changes: Sequence[Change]) -> None:
        raise StoreFull("ENOSPC")

    with monkeypatch.context() as patch:
        patch.setattr(desk.disk, "write", full)
        desk.disk.state = State.FULL
        desk.world.now += PATIENCE
        desk.commit()
        assert desk.keeping.refuses
    desk.disk.state = State.OPEN
    desk.tend(0.0)
    assert not desk.keeping.refuses
    desk.put(2, "b")
    desk.commit()
    assert desk.said() == [(Kind.CONFIRM, 2)]
    assert [type(one) for one in desk.disk.written[-1]] == [Advanced, Added, Sequenced]


def test_a_refused_put_alone_leaves_nothing_to_do(desk: Desk) -> None:
    """The broker does not spin over an empty journal."""
    desk.disk.state = State.FULL
    desk.put(1, "a")
    desk.commit()
    desk.commit()
    assert desk.keeping.due == math.inf


def test_a_key_for_dedupe_is_kept_with_its_put_or_forgotten_with_it(desk: Desk) -> None:
    """A put that could not be kept may be tried again: it is no duplicate, here and on disk."""
    desk.put(1, "a", dedupe="one")
    desk.commit()
    remembered = [one for one in desk.disk.written[0] if isinstance(one, Remembered)]
    assert [(one.key, one.until) for one in remembered] == [("one", START + 300.0)]
    desk.disk.state = State.FULL
    desk.put(2, "b", dedupe="two")
    desk.commit()
    assert desk.said()[0] == (Kind.REJECTED, 2)
    assert desk.world.put("a", dedupe="one") == "duplicate"
    desk.disk.state = State.OPEN
    desk.put(3, "b", dedupe="two")
    desk.commit()
    assert [
        len([c for c in group if isinstance(c, Remembered)]) for group in desk.disk.written
    ] == [1, 1]


@pytest.mark.parametrize("state", [State.OPEN, State.FULL, State.FAILED])
def test_a_duplicate_shares_the_fate_of_the_put_that_it_is_one_of(desk: Desk, state: State) -> None:
    """In one pass with it: who is told "duplicate" forgets the message, so it has to be kept."""
    host = QueueHost(desk.world.core, desk.keeping, {}, desk.dirty)
    host.now = desk.world.now
    desk.disk.state = state
    for sequence in 1, 2:
        host.from_producer(desk.producer, Kind.PUT, 1, sequence, put_body("a", dedupe="one"))
    assert desk.said() == []
    desk.commit()
    kept = state is State.OPEN
    reasons = {} if kept else {1: "store"}
    assert desk.producer.sent is not None
    assert desk.producer.sent.gaps == reasons | {2: "duplicate" if kept else "store"}
    first = (Kind.CONFIRM, 1) if kept else (Kind.REJECTED, 1)
    assert sorted(desk.said()) == sorted([first, (Kind.REJECTED, 2)])
    assert desk.world.core.books.depth == kept
    again = desk.world.core.intake.admits(1, 9, Options(dedupe="one"), desk.world.now)
    assert again == ("duplicate" if kept else "")


def test_a_duplicate_of_what_is_kept_is_known_at_once(desk: Desk) -> None:
    """Whatever becomes of the puts beside it."""
    host = QueueHost(desk.world.core, desk.keeping, {}, desk.dirty)
    host.now = desk.world.now
    host.from_producer(desk.producer, Kind.PUT, 1, 1, put_body("a", dedupe="one"))
    desk.commit()
    desk.said()
    host.from_producer(desk.producer, Kind.PUT, 1, 2, put_body("b", dedupe="two"))
    host.from_producer(desk.producer, Kind.PUT, 1, 3, put_body("a", dedupe="one"))
    assert desk.said() == [(Kind.REJECTED, 3)]
    desk.disk.state = State.FULL
    desk.commit()
    assert desk.said() == [(Kind.REJECTED, 2)]
    assert desk.producer.sent is not None
    assert desk.producer.sent.gaps == {2: "store", 3: "duplicate"}


@pytest.mark.parametrize("desk", [{"capacity": 3, "overflow": "drop_oldest"}], indirect=True)
@pytest.mark.parametrize("state", [State.FULL, State.FAILED])
def test_nothing_is_dropped_for_puts_that_a_store_is_known_to_refuse(
    desk: Desk, state: State
) -> None:
    """Only the put of the pass that finds out has dropped one."""
    host = QueueHost(desk.world.core, desk.keeping, {}, desk.dirty)
    host.now = desk.world.now
    sequences = itertools.count(1)

    def put(*values: str) -> list[tuple[int, int]]:
        body = put_body(*values)
        host.from_producer(desk.producer, Kind.PUT, len(values), next(sequences), body)
        desk.commit()
        return desk.said()

    for value in "abc":
        put(value)
    desk.disk.state = state
    assert put("d") == [(Kind.REJECTED, 4)]
    assert put("e", "f") == [(Kind.REJECTED, 5)], "for which there is no room"
    assert (desk.world.core.books.depth, desk.world.core.counts.dropped) == (2, 1)
    assert desk.world.balanced()


def test_a_store_that_failed_is_written_to_no_more(desk: Desk) -> None:
    """Puts are refused from then on; what is in memory goes on."""
    desk.put(1, "a")
    desk.commit()
    desk.said()
    desk.disk.state = State.FAILED
    desk.put(2, "b")
    desk.commit()
    assert desk.said() == [(Kind.REJECTED, 2)]
    assert desk.keeping.trouble.startswith("failed")
    desk.world.consumer(1)
    assert desk.world.take() == ["a"]
    desk.commit()
    desk.world.now += PATIENCE
    desk.commit()
    assert desk.world.journal == []
    assert desk.keeping.due == math.inf


def test_a_store_that_failed_is_opened_again_with_all_there_is(desk: Desk) -> None:
    """What waits, is worked on, is dead, is known; nothing of the write that failed."""
    for number, options in enumerate(
        [{}, {"dedupe": "k"}, {"delay": 9.0}, {"reply": 1, "caller": 7}], 1
    ):
        desk.put(number, f"message {number}", **options)
    desk.commit()
    world = desk.world
    world.consumer(1, window=2)
    first, _ = world.deliver()
    world.nack(1, first, action="dead")
    desk.disk.state = State.FAILED
    desk.put(5, "not kept")
    desk.commit()
    desk.tend(1.0)
    desk.disk.state = State.OPEN
    assert not desk.tend(REOPEN - 0.1)
    assert desk.keeping.refuses
    assert desk.tend(0.2)
    assert not desk.keeping.refuses
    _, anew = desk.opened
    assert anew is not None
    assert [messages(one) for one in anew.chunks] == [["message 2"], ["message 3"]]
    assert [one.message for one in anew.letters] == [b"\xa9message 1"]
    assert list(anew.keys) == ["k"]
    assert anew.sequences["me"].sequence == 5
    assert (anew.last_chunk, anew.last_letter) == (world.core.books.last_chunk, 1)
    desk.put(6, "after")
    desk.commit()
    assert [type(one) for one in desk.disk.written[-1]] == [Added, Sequenced]


def fail_and_reopen(desk: Desk, steps: int) -> Steps:
    """Let the store of three messages fail, and what follows begin."""
    for number in (1, 2, 3):
        desk.put(number, f"message {number}")
    desk.commit()
    desk.disk.state = State.FAILED
    desk.put(4, "not kept")
    desk.commit()
    desk.disk.state = State.OPEN
    desk.steps = steps
    desk.tend(1.0)
    assert desk.tend(REOPEN)
    return desk.ahead[0]


def test_a_store_is_written_anew_in_steps(desk: Desk) -> None:
    """A step a pass, puts are refused meanwhile; what it holds in the end is what is there then."""
    ahead = fail_and_reopen(desk, steps=3)
    assert [messages(one) for one in ahead.chunks] == [[f"message {n}"] for n in (1, 2, 3)]
    world = desk.world
    world.consumer(1, window=1)
    (first,) = world.deliver()
    world.ack(1, first, 1)
    desk.commit()
    assert desk.keeping.refuses
    assert desk.keeping.due == world.now
    assert not desk.tend(100.0), "one head start at a time"
    desk.commit()
    assert not desk.keeping.refuses
    assert not ahead.given_up
    _, anew = desk.opened
    assert anew is not None
    assert [messages(one) for one in anew.chunks] == [["message 2"], ["message 3"]]
    desk.commit()
    assert desk.keeping.due == math.inf


@pytest.mark.parametrize("when", ["a step", "the end"])
def test_a_device_that_fails_again_ends_a_head_start(desk: Desk, when: str) -> None:
    """At whatever moment: nothing of it stays open, and the next one begins later."""
    ahead = fail_and_reopen(desk, steps=2)
    ahead.broken = when == "a step"
    desk.disk.state = State.FAILED
    desk.commit()
    assert ahead.given_up
    assert "EIO" in desk.keeping.trouble
    desk.disk.state = State.OPEN
    desk.steps = 1
    assert not desk.tend(REOPEN)
    assert desk.tend(REOPEN)
    assert not desk.keeping.refuses


def test_a_broker_that_stops_ends_a_head_start(desk: Desk) -> None:
    """It is not made the queue's file: the rest is not in it."""
    ahead = fail_and_reopen(desk, steps=2)
    desk.keeping.close(desk.world.core, desk.dirty)
    assert ahead.given_up


def test_a_store_that_fails_on_is_tried_ever_more_rarely(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try may write all there is: they become rare, and never end."""
    desk.disk.state = State.FAILED
    desk.put(1, "a")
    desk.commit()
    tries: list[float] = []

    def fail(anew: Recovered | None, ahead: Ahead | None) -> Disk:
        tries.append(desk.world.now)
        raise StoreFailed("EIO")

    monkeypatch.setattr(desk.keeping, "_opener", fail)
    began = desk.world.now
    for _ in range(1000):
        desk.tend(1.0)
    pauses = [later - sooner for sooner, later in zip([began, *tries], tries, strict=False)]
    assert pauses[:4] == [REOPEN + 1.0, 2 * REOPEN, 4 * REOPEN, 8 * REOPEN]
    assert set(pauses[-3:]) == {REOPEN_AT_MOST}


def test_what_could_not_be_opened_is_read_when_it_can_be(desk: Desk) -> None:
    """A store that fails at the start is not written anew: what it has is not known yet."""
    desk.disk.state = State.FAILED
    keeping = Keeping(desk.open, desk.begin)
    core = World(durable="full").core
    keeping.restore(core, 0.0)
    assert keeping.refuses
    desk.disk.state = State.OPEN
    desk.disk.holds = Recovered(chunks=[chunk(7)], last_chunk=7)
    assert not keeping.tend(core, 1.0)
    assert keeping.tend(core, 1.0 + REOPEN)
    assert desk.opened == [None, None]
    assert (core.books.depth, core.books.last_chunk) == (1, 7)
