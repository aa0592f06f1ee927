"""What a broker's clients can do to it, and to each other: nothing. And what its own end does."""

import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.crash.queue_harness import Make, Scene, scenes
from workers.queues import payload
from workers.queues.broker import greeter
from workers.queues.client import door
from workers.queues.client.reader import QueueReader
from workers.queues.client.writer import CHUNKS_OF_CAPACITY, QueueWriter
from workers.queues.cursor import CursorWriter
from workers.queues.errors import MessageTooLarge, QueueFull, QueueRefused
from workers.queues.frames import HEADER, MAX_BODY, SIZE, Command, Hello, Kind, frame

MIB = 1 << 20
#: Asks for statistics.
STATS = frame(Kind.MANAGE, msgspec.msgpack.encode(Command("stats")))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make scenes, and end what is in them."""
    yield from scenes(tmp_path)


def put_frame(*messages: Any, sequence: int = 1) -> bytes:
    """Make a frame that puts messages."""
    return frame(Kind.PUT, SIZE.pack(0) + payload.encode(messages), len(messages), sequence)


def put(scene: Scene, *messages: Any) -> None:
    """Put messages, and wait until they are in the queue."""
    with QueueWriter("q", scene.path) as writer:
        for message in messages:
            writer.put(message)


def take(scene: Scene, count: int, **options: Any) -> list[tuple[Any, int]]:
    """Take so many messages, with their attempts."""
    reader, found = QueueReader("q", scene.path, **options), list[tuple[Any, int]]()
    while len(found) < count:
        for delivery in reader.receive(time.monotonic() + 10):
            found.append((delivery.message, delivery.attempt))
            reader.done(delivery)
    reader.close()
    return found


# --- what clients send --------------------------------------------------------------------------


HOSTILE = {
    "garbage": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "four-gib": b"\xff" * 16,
    "no-hello": put_frame(1),
    "not-msgpack": frame(Kind.HELLO, b"\xc1"),
    "no-such-role": frame(Kind.HELLO, b"\x81\xa4role\xa4king"),
    "no-cursor": frame(Kind.HELLO, b"\x82\xa4role\xa8consumer\xa5queue\xa1q"),
    "nested": frame(Kind.HELLO, b"\x81\xa1x" + b"\x91" * 100_000),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
def test_a_stranger_is_refused_and_nobody_else_is_affected(make: Make, sent: bytes) -> None:
    """Who does not speak the protocol is told so and closed; others go on, memory does not grow."""
    scene = make()
    with QueueWriter("q", scene.path) as writer:
        writer.put(1)
        writer.flush()
        before = scene.rss()
        with scene.raw() as stranger:
            stranger.send(sent)
            assert stranger.closed()
        writer.put(2)
        writer.flush()
    assert scene.rss() - before < 2 * MIB
    assert take(scene, 2) == [(1, 1), (2, 1)]


def test_half_a_frame_is_forgotten_with_its_connection(make: Make) -> None:
    """A producer that ends in the middle of a frame has put what was whole before it."""
    scene = make()
    with scene.raw(Hello("producer", "q", "half")) as half:
        half.send(put_frame(1) + HEADER.pack(100, Kind.PUT, 1, 2))
    put(scene, 2)
    assert sorted(take(scene, 2)) == [(1, 1), (2, 1)]
    assert scene.stat()["accepted_total"] == 2


def test_what_is_written_byte_by_byte_is_understood(make: Make) -> None:
    """A peer as slow as that holds up nobody else, and its message is taken when it is whole."""
    scene = make()
    with scene.raw() as slow:
        for byte in frame(Kind.HELLO, msgspec.msgpack.encode(Hello("producer", "q", "me"))):
            slow.send(bytes([byte]))
        slow.expect(Kind.WELCOME)
        *most, last = put_frame("slow")
        for byte in most:
            slow.send(bytes([byte]))
        put(scene, "swift")
        assert scene.stat()["accepted_total"] == 1
        slow.send(bytes([last]))
        assert slow.expect(Kind.CONFIRM)[0] == 1
    assert take(scene, 2) == [("swift", 1), ("slow", 1)]


def test_a_consumer_that_lies_ends_alone(make: Make) -> None:
    """A malformed acknowledgement closes its connection; what it had goes back unblamed."""
    scene = make()
    put(scene, 7)
    cursor = CursorWriter()
    with scene.raw() as liar:
        hello = frame(Kind.HELLO, b"\x82\xa4role\xa8consumer\xa5queue\xa1q")
        rights = struct.pack("i", cursor.fd)
        liar.socket.sendmsg([hello], [(1, 1, rights)])
        liar.expect(Kind.WELCOME)
        liar.send(frame(Kind.CREDIT, argument=1))
        liar.expect(Kind.DELIVER)
        liar.send(frame(Kind.ACK, b"odd", 1))
        assert liar.closed()
    os.close(cursor.fd)
    assert take(scene, 1) == [(7, 1)]


@pytest.mark.parametrize("body", [b"\xc1", b"\x91" * 50_000, b"\x93\x01\x02\x03", b"\x05"])
def test_a_chunk_that_cannot_be_opened_is_a_dead_letter(make: Make, body: bytes) -> None:
    """What is not the messages that its producer said it is ends nobody, and is buried."""
    scene = make()
    with scene.raw(Hello("producer", "q", "liar")) as liar:
        liar.send(frame(Kind.PUT, SIZE.pack(0) + body, 2, 1))
        liar.expect(Kind.CONFIRM)
    consumer = scene.consumer()
    put(scene, 7)
    assert scene.reports.take(1) == [[7, 1, consumer]]
    after = scene.until(depth=0, bytes=0, dead_total=2)
    assert (after["accepted_total"], after["settled_total"]) == (3, 1)
    assert scene.alive(consumer)


def test_what_is_of_another_type_is_a_dead_letter(make: Make) -> None:
    """A message that its consumer cannot decode is buried, and the consumer goes on."""
    scene = make()
    with QueueWriter("q", scene.path) as writer:
        writer.put_many([1, "two", 3])
    consumer = scene.consumer(type=int)
    assert [line[0] for line in scene.reports.take(2)] == [1, 3]
    scene.until(depth=0, settled_total=2, dead_total=1)
    assert scene.alive(consumer)


# --- what clients leave undone ------------------------------------------------------------------


def test_who_asks_and_never_reads_is_closed(make: Make) -> None:
    """Statistics asked for without end, and never read, cost the broker no more than its limit."""
    scene = make()
    put(scene, 1)
    before = scene.rss()
    with scene.raw(Hello("observer")) as deaf:
        with pytest.raises(ConnectionError):
            deaf.send(STATS * 1_000_000)
        assert scene.stat()["depth"] == 1
    assert scene.rss() - before < 8 * MIB


def test_who_does_not_say_hello_is_closed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing, or half of it, ends at the handshake deadline."""
    monkeypatch.setattr(greeter, "HANDSHAKE_SECONDS", 0.2)
    scene = make()
    with scene.raw() as silent, scene.raw() as slow, scene.raw(Hello("observer")) as greeted:
        slow.send(HEADER.pack(100, Kind.HELLO, 0, 0))
        assert "HELLO" in silent.closed()
        assert "HELLO" in slow.closed()
        greeted.send(STATS)
        greeted.expect(Kind.MANAGED)


def test_connections_have_a_limit(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection too many is told so; those there are go on, and room that is left is used."""
    monkeypatch.setattr(greeter, "MAX_CONNECTIONS", 3)
    scene = make()
    with scene.raw(Hello("observer")), scene.raw(Hello("observer")):
        with QueueWriter("q", scene.path) as writer:
            with pytest.raises(QueueRefused, match="3 connections"):
                QueueWriter("q", scene.path)
            writer.put(1)
        scene.until(depth=1)


def test_a_connection_that_says_nothing_costs_next_to_nothing(make: Make) -> None:
    """A hundred of them are no ten megabytes."""
    scene = make()
    before = scene.rss()
    idle = [scene.raw(Hello("producer", "q")) for _ in range(100)]
    assert scene.rss() - before < 8 * MIB
    for one in idle:
        one.socket.close()


# --- a full queue -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 1000, 100_000, 900_000])
def test_a_full_queue_holds_its_producer_back(
    make: Make, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a timeout, put says QueueFull in time; nothing is lost or invented of what it took."""
    monkeypatch.setattr(door, "SEND_BUFFER", 1 << 14)  # less than one of the larger messages
    scene, taken = make(capacity=10), 0
    writer = QueueWriter("q", scene.path)
    try:
        while True:
            began = time.monotonic()
            writer.put([taken, "x" * size], timeout=0.1)
            taken += 1
    except QueueFull:
        pass
    assert 0.1 <= time.monotonic() - began < 5
    reader = scene.fork(_take_numbers, scene, taken)
    writer.flush(10)
    writer.close()
    assert [line[0] for line in scene.reports.take(taken)] == list(range(taken))
    assert scene.ended(reader) == 0
    scene.until(depth=0, accepted_total=taken, settled_total=taken)


def _take_numbers(scene: Scene, count: int) -> None:
    for (number, _text), attempt in take(scene, count):
        scene.report(number, attempt)


def test_the_memory_of_a_full_queue_is_flat(make: Make) -> None:
    """A producer without end is held back: the broker holds what the queue may, and no more."""
    scene = make(capacity=100)
    put(scene, "x" * 1000)
    before = scene.rss()

    def produce() -> None:
        with QueueWriter("q", scene.path) as writer:
            while True:
                writer.put("x" * 10_000)

    producers = [scene.fork(produce) for _ in range(3)]
    held = scene.until(blocked=3)["accepted_total"]
    assert 100 - 100 // CHUNKS_OF_CAPACITY < held <= 100  # a chunk that does not fit waits whole
    peak, until = 0, time.monotonic() + 0.5
    while time.monotonic() < until:
        peak = max(peak, scene.rss())
        assert scene.stat()["accepted_total"] == held
    assert peak - before < 8 * MIB
    assert all(scene.alive(pid) for pid in producers)


def test_a_message_has_a_size(make: Make) -> None:
    """More than 1 MiB is a typed error at its producer, which goes on; up to it, all arrives."""
    scene = make()
    largest = "x" * (MAX_BODY - 8)  # the heads of an array and of a string
    with QueueWriter("q", scene.path) as writer:
        with pytest.raises(MessageTooLarge):
            writer.put(largest + "x")
        writer.put(largest)
        writer.put_many(["y" * (MAX_BODY // 2)] * 4)
    sizes = [len(message) for message, _ in take(scene, 5, prefetch=100)]
    assert sizes == [len(largest)] + [MAX_BODY // 2] * 4


def test_a_queue_of_few_bytes_says_so(make: Make) -> None:
    """What can never fit the queue's own max_bytes is the same typed error."""
    scene = make(max_bytes=1000)
    with QueueWriter("q", scene.path) as writer:
        with pytest.raises(MessageTooLarge):
            writer.put("x" * 1000)
        writer.put_many(["x" * 300] * 3)
    assert scene.stat()["depth"] == 3


# --- connections and brokers that end -----------------------------------------------------------


def test_what_is_sent_again_is_taken_once(make: Make) -> None:
    """A producer that lost its connection before the confirmation sends again: one message."""
    scene = make()
    chunks = [put_frame(n, sequence=n) for n in (1, 2, 3)]
    with scene.raw(Hello("producer", "q", "me")) as first:
        first.send(chunks[0] + chunks[1])
        scene.until(accepted_total=2)
    with scene.raw(Hello("producer", "q", "me")) as second:
        second.send(b"".join(chunks))
        while second.expect(Kind.CONFIRM)[0] < 3:
            pass
    with scene.raw(Hello("producer", "q", "another")) as another:
        another.send(chunks[0])
        assert another.expect(Kind.CONFIRM)[0] == 1
    assert take(scene, 4) == [(1, 1), (2, 1), (3, 1), (1, 1)]
    assert scene.stat()["accepted_total"] == 4


def test_a_new_broker_is_sent_what_the_old_one_did_not_confirm(make: Make) -> None:
    """After a SIGKILL of the broker its clients find the next one; each unconfirmed chunk once."""
    scene = make(capacity=5)
    writer = QueueWriter("q", scene.path)
    writer.put_many(range(5))
    writer.flush()  # confirmed, in memory: these die with the broker
    reader = scene.consumer(prefetch=1, handle=lambda _: signal.pause())
    scene.reports.take(1)
    scene.kill(reader)
    for number in range(100, 120):
        writer.put(number)  # no room: not confirmed
    scene.kill(scene.broker)
    scene.start_broker()
    consumer = scene.consumer()
    writer.close()
    assert scene.reports.take(20) == [[number, 1, consumer] for number in range(100, 120)]
    scene.until(depth=0, accepted_total=20, settled_total=20)


def test_clients_survive_their_broker_again_and_again(make: Make) -> None:
    """The broker SIGKILLed three times mid-stream: clients go on, the stream ends."""
    scene = make()
    consumers = [scene.consumer() for _ in range(2)]
    producer = scene.producer(20_000)
    for _ in range(3):
        scene.reports.take(1000)
        scene.kill(scene.broker)
        scene.start_broker()
    seen: set[int] = set()
    while 19_999 not in seen:
        lines = scene.reports.take(1)
        seen |= {message for message, _, _ in lines}
    assert scene.ended(producer) == 0
    assert seen <= set(range(20_000))
    assert all(scene.alive(pid) for pid in consumers)
    scene.until(depth=0, consumers=2, dead_total=0)


def test_an_orderly_stop_gives_back_what_was_not_begun(make: Make) -> None:
    """What a consumer had fetched ahead is the next one's, at its first attempt."""
    scene = make()
    with QueueWriter("q", scene.path) as writer:
        writer.put_many(range(20))
    reader = QueueReader("q", scene.path, prefetch=16)
    deliveries = reader.receive()
    first = next(deliveries)
    assert (first.message, first.attempt) == (0, 1)
    reader.done(first)
    reader.close()
    scene.until(depth=19, leased=0, consumers=0, settled_total=1, redelivered_total=0)
    assert take(scene, 19) == [(number, 1) for number in range(1, 20)]


def test_an_idle_broker_ends_on_sigterm(make: Make) -> None:
    """SIGTERM alone, without a word on the link, ends a broker in order."""
    scene = make()
    os.kill(scene.broker, signal.SIGTERM)
    assert scene.ended(scene.broker, patience=5) == 0
