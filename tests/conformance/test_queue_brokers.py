"""What a broker does with every store, over real sockets: memory, SQLite with and without fsync."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.queue_harness import Make, Scene, scenes
from tests.crash.raw_consumer import RawConsumer, command, put
from workers.queues.frames import Hello, Kind

Again = Callable[[Scene], None]


def _stay(_scene: Scene) -> None:
    """Go on with the same broker."""


def _kill(scene: Scene) -> None:
    """Go on with the next broker, the first was killed."""
    scene.kill(scene.broker)
    scene.start_broker()


def _end(scene: Scene) -> None:
    """Go on with the next broker, the first was asked to end."""
    os.kill(scene.broker, signal.SIGTERM)
    assert scene.ended(scene.broker) == 0
    scene.start_broker()


#: Stores, and what may happen to their broker in the middle.
WAYS = [
    ("", _stay),
    *((durable, again) for durable in ("process", "full") for again in (_stay, _kill, _end)),
]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0] or 'memory'}{way[1].__name__}")
def way(request: pytest.FixtureRequest) -> tuple[str, Again]:
    """Give each store, with each thing that may happen."""
    durable, again = request.param
    return durable, again


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make scenes, and end what is in them."""
    yield from scenes(tmp_path)


def fill(scene: Scene, *groups: tuple[str, ...]) -> None:
    """Put chunks, each confirmed before the next one."""
    with scene.raw(Hello("producer", "q", "filler")) as producer:
        for sequence, messages in enumerate(groups, 1):
            producer.send(put(sequence, *messages))
            assert producer.expect(Kind.CONFIRM)[0] == sequence


def drain(scene: Scene, count: int) -> list[str]:
    """Take so many messages, and settle them."""
    found: list[str] = []
    with RawConsumer(scene, 100) as consumer:
        while len(found) < count:
            chunk, _attempt, _options, messages = consumer.next()
            found += messages
            consumer.ack(chunk, len(messages))
        scene.until(depth=0)
    return found


def test_what_was_confirmed_comes_in_order(make: Make, way: tuple[str, Again]) -> None:
    """All messages of all chunks, in the order in which they were put."""
    durable, again = way
    scene = make(durable=durable)
    fill(scene, ("a", "b"), ("c",), ("d", "e", "f"))
    again(scene)
    assert drain(scene, 6) == list("abcdef")


def test_what_came_back_keeps_its_place(make: Make, way: tuple[str, Again]) -> None:
    """Messages that a consumer had when it ended come before those that were put later."""
    durable, again = way
    scene = make(durable=durable)
    fill(scene, ("a", "b"), ("c", "d"))
    with RawConsumer(scene, 2) as consumer:
        assert consumer.next()[3] == ["a", "b"]
    scene.until(leased=0)
    again(scene)
    assert drain(scene, 4) == list("abcd")


def test_dead_letters_stay_and_can_be_replayed(make: Make, way: tuple[str, Again]) -> None:
    """A message that was buried is there until it is put again, or discarded."""
    durable, again = way
    scene = make(durable=durable)
    fill(scene, ("a",), ("b",), ("c",))
    with RawConsumer(scene, 3) as consumer:
        for _ in range(3):
            chunk, *_ = consumer.next()
            consumer.nack(chunk, action="dead", reason="no good", error="E")
        scene.until(dead=3, depth=0)
    with scene.raw(Hello("producer", "q", "other")) as producer:  # written together with it
        producer.send(put(1, "z"))
        producer.expect(Kind.CONFIRM)
    again(scene)
    letters = command(scene, "dead_list")["letters"]
    assert [(one["message"], one["reason"], one["error"]) for one in letters] == [
        (b"\xa1a", "no good", "E"), (b"\xa1b", "no good", "E"), (b"\xa1c", "no good", "E"),
    ]  # fmt: skip
    command(scene, "dead_discard", ids=[letters[0]["id"]])
    assert command(scene, "dead_replay", ids=[letters[1]["id"]])["replayed"] == 1
    assert sorted(drain(scene, 2)) == ["b", "z"]
    assert scene.stat()["dead"] == 1


def test_a_put_that_is_sent_again_is_known(make: Make, way: tuple[str, Again]) -> None:
    """A producer that does not know whether it was heard sends again: one message."""
    durable, again = way
    scene = make(durable=durable)
    fill(scene, ("a",), ("b",))
    again(scene)
    fill(scene, ("a",), ("b",), ("c",))
    assert drain(scene, 3) == ["a", "b", "c"]
    assert scene.stat()["depth"] == 0


def test_what_is_purged_does_not_come_back(make: Make, way: tuple[str, Again]) -> None:
    """What was purged stays so after what was confirmed later."""
    durable, again = way
    scene = make(durable=durable)
    fill(scene, ("a",), ("b",))
    assert command(scene, "purge")["dropped"] == 2
    with scene.raw(Hello("producer", "q", "other")) as producer:
        producer.send(put(1, "c"))
        producer.expect(Kind.CONFIRM)
    again(scene)
    assert drain(scene, 1) == ["c"]
