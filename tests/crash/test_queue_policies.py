"""What a broker does for its queues over real sockets: refusals, retries, leases, calls, limits."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.crash.queue_harness import Make, scenes
from tests.crash.raw_consumer import RawConsumer, command, put, rejected
from workers.queues.client.reader import Delivery
from workers.queues.frames import SIZE, Hello, Kind, Reply, frame


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make scenes, and end what is in them."""
    yield from scenes(tmp_path)


# --- puts -------------------------------------------------------------------------------------


def test_a_refused_put_is_refused_again_when_it_is_sent_again(make: Make) -> None:
    """A producer that lost its connection before the refusal is not told that it was taken."""
    scene = make(capacity=1, overflow="reject")
    with scene.raw(Hello("producer", "q", "me")) as first:
        first.send(put(1, "a") + put(2, "b"))
        assert rejected(first) == (2, "full")
        assert first.expect(Kind.CONFIRM)[0] == 1
    with RawConsumer(scene) as consumer:
        chunk, *_ = consumer.next()
        consumer.ack(chunk, 1)
        scene.until(depth=0)
    with scene.raw(Hello("producer", "q", "me")) as second:
        second.send(put(1, "a") + put(2, "b") + put(3, "c"))
        assert rejected(second) == (2, "full")
        assert second.expect(Kind.CONFIRM)[0] == 3
    found = scene.until(depth=1, accepted_total=2)
    assert found["refused_total"] == 1


def test_a_retry_with_the_same_id_after_an_unknown_outcome_is_a_duplicate(make: Make) -> None:
    """A producer that died between sending and the confirmation; its successor puts it again."""
    scene = make()
    with scene.raw(Hello("producer", "q", "first life")) as first:
        first.send(put(1, "order", dedupe="order-7"))
        scene.until(depth=1)
    with scene.raw(Hello("producer", "q", "second life")) as second:
        second.send(put(1, "order", dedupe="order-7"))
        assert rejected(second) == (1, "duplicate")
    assert scene.stat()["depth"] == 1


def test_a_call_and_a_key_for_dedupe_stand_alone(make: Make) -> None:
    """What is of one message is not said of several: the connection ends, with the reason."""
    scene = make()
    for options in ({"reply": 1}, {"dedupe": "k"}):
        with scene.raw(Hello("producer", "q")) as producer:
            producer.send(put(1, "a", "b", **options))
            assert "chunk of its own" in producer.closed()
    with scene.raw(Hello("producer", "q")) as producer:
        producer.send(frame(Kind.PUT, SIZE.pack(1 << 30) + b"x", 1, 1))
        assert producer.closed()
    assert scene.stat()["accepted_total"] == 0


def test_another_protocol_is_refused(make: Make) -> None:
    """A client of another version is told so."""
    scene = make()
    with scene.raw() as old:
        old.send(frame(Kind.HELLO, msgspec.msgpack.encode(Hello("producer", "q", protocol=1))))
        assert "protocol 1" in old.closed()


def test_drop_oldest_never_holds_a_producer_back(make: Make) -> None:
    """The newest are there; what was dropped is counted."""
    scene = make(capacity=10, overflow="drop_oldest")
    with scene.raw(Hello("producer", "q")) as producer:
        producer.send(b"".join(put(n, n) for n in range(1, 101)))
        while producer.expect(Kind.CONFIRM)[0] < 100:
            pass
    found = scene.until(depth=10, dropped_total=90, accepted_total=100)
    assert found["blocked"] == 0
    with RawConsumer(scene) as consumer:
        assert [consumer.next()[3][0] for _ in range(10)] == list(range(91, 101))


def test_a_drained_queue_refuses_those_who_push_and_counts_what_is_left(make: Make) -> None:
    """The intake is closed first, for those held back too; what is there is handled."""
    scene = make(capacity=5)
    with scene.raw(Hello("producer", "q")) as producer:
        producer.send(b"".join(put(n, n) for n in range(1, 9)))
        while producer.expect(Kind.CONFIRM)[0] < 5:
            pass
        scene.until(depth=5, blocked=1)
        assert command(scene, "drain") == {"closed": True, "left": 5}
        assert [rejected(producer) for _ in range(3)] == [(n, "closed") for n in (6, 7, 8)]
        consumer = scene.consumer()
        assert scene.reports.take(5) == [[n, 1, consumer] for n in range(1, 6)]
        scene.until(depth=0)
        assert command(scene, "drain")["left"] == 0
        command(scene, "reopen")
        producer.send(put(9, 9))
        assert scene.reports.take(1) == [[9, 1, consumer]]


# --- deliveries -------------------------------------------------------------------------------


def test_a_message_that_fails_comes_again_after_its_delay(make: Make) -> None:
    """With one attempt more, and not before; then it is a dead letter with its error."""
    scene = make(max_attempts=2)
    with scene.raw(Hello("producer", "q")) as producer, RawConsumer(scene) as consumer:
        producer.send(put(1, "a", headers={"traceparent": "00-aa-bb-01"}))
        chunk, attempt, options, messages = consumer.next()
        assert (attempt, messages, options.headers) == (1, ["a"], {"traceparent": "00-aa-bb-01"})
        began = time.monotonic()
        consumer.nack(chunk, delay=0.2)
        again, attempt, options, messages = consumer.next()
        assert time.monotonic() - began >= 0.2
        assert again != chunk
        assert (attempt, messages, options.headers) == (2, ["a"], {"traceparent": "00-aa-bb-01"})
        consumer.nack(again, error="ValueError: no", traceback="Traceback ...")
        scene.until(depth=0, dead=1)
    (letter,) = command(scene, "dead_show", ids=[1])["letters"]
    assert (letter["reason"], letter["error"]) == ("failed", "ValueError: no")


def test_a_delayed_message_and_its_deadline_are_kept_to(make: Make) -> None:
    """It comes when its time has come, and says how much of its own is left."""
    scene = make()
    with scene.raw(Hello("producer", "q")) as producer, RawConsumer(scene) as consumer:
        began = time.monotonic()
        producer.send(put(1, "late", delay=0.2, ttl=60.0) + put(2, "now"))
        assert consumer.next()[3] == ["now"]
        _, _, options, messages = consumer.next()
        took = time.monotonic() - began
        assert messages == ["late"]
        assert took >= 0.2
        assert 60.0 - took - 0.1 <= options.ttl <= 60.0 - 0.2 + 0.01


def test_what_nobody_takes_in_time_expires_by_itself(make: Make) -> None:
    """Though nothing else happens in the broker."""
    scene = make()
    with scene.raw(Hello("producer", "q")) as producer:
        producer.send(put(1, "a", ttl=0.1))
        producer.expect(Kind.CONFIRM)
    scene.until(depth=0, dead=1, expired_total=1)


def test_a_rate_is_kept_to(make: Make) -> None:
    """Thirty messages at a hundred a second, five at once: a quarter of a second."""
    scene = make(rate=(100.0, 5.0))
    with scene.raw(Hello("producer", "q")) as producer, RawConsumer(scene, 100) as consumer:
        began = time.monotonic()
        producer.send(put(1, *range(30)))
        came: list[Any] = []
        while len(came) < 30:
            came += consumer.next()[3]
        took = time.monotonic() - began
    assert came == list(range(30))
    assert 0.24 <= took < 5


def test_full_dead_letters_hold_producers_back_until_somebody_looks(make: Make) -> None:
    """Nothing is dropped in silence: the queue fills up; health sees why."""
    scene = make(capacity=3, max_dead=2, max_attempts=1)
    with scene.raw(Hello("producer", "q")) as producer, RawConsumer(scene, 1) as consumer:
        producer.send(b"".join(put(n, n) for n in range(1, 8)))
        for _ in range(2):
            consumer.nack(consumer.next()[0], action="dead")
        found = scene.until(dead=2, depth=3, blocked=1)
        assert found["dead_full"]
        assert command(scene, "dead_discard") == {"discarded": 2, "left": 0}
        assert consumer.next()[3] == [3]


# --- leases -----------------------------------------------------------------------------------


def test_a_consumer_that_is_stuck_loses_its_lease_and_its_late_word_counts_nothing(
    make: Make,
) -> None:
    """What a stopped process had goes to another; when it goes on, it comes anew and is served."""
    scene = make(lease=0.3)
    stuck = scene.consumer(_stop_at_seven)
    with scene.raw(Hello("producer", "q")) as producer:
        producer.send(put(1, 7, 8, 9))
        assert scene.reports.take(1) == [[7, 1, stuck]]
        other = scene.consumer()
        assert scene.reports.take(3) == [[7, 2, other], [8, 1, other], [9, 1, other]]
        found = scene.until(depth=0, settled_total=3)
        assert found["leases_over_total"] == 1
        scene.kill(other)
        os.kill(stuck, signal.SIGCONT)
        producer.send(put(2, 10))
        assert scene.reports.take(1) == [[10, 1, stuck]]
        scene.until(depth=0, settled_total=4, dead=0)


def _stop_at_seven(delivery: Delivery) -> None:
    if delivery.message == 7:
        os.kill(os.getpid(), signal.SIGSTOP)


def test_a_late_acknowledgement_is_refused_and_counted(make: Make) -> None:
    """It names a number that is nobody's any more."""
    scene = make(lease=0.2)
    with scene.raw(Hello("producer", "q")) as producer, RawConsumer(scene) as late:
        producer.send(put(1, "a"))
        chunk, *_ = late.next()
        late.cursor.busy(chunk, 0)
        with RawConsumer(scene) as other:
            again, attempt, _, messages = other.next()
            assert (attempt, messages) == (2, ["a"])
            assert late.cursor.fenced
            late.ack(chunk, 1)
            late.ack(again, 1)
            scene.until(late_acks_total=2, depth=1)
            other.ack(again, 1)
            scene.until(depth=0, settled_total=1)


def test_a_slow_consumer_holds_up_nobody_else(make: Make) -> None:
    """It has what its window allows; all the rest goes past it."""
    scene = make()
    slow = scene.consumer(_stop_at_seven, prefetch=4)
    with scene.raw(Hello("producer", "q")) as producer:
        producer.send(put(1, 7))
        assert scene.reports.take(1) == [[7, 1, slow]]
        swift = scene.consumer()
        producer.send(b"".join(put(n, 100 + n) for n in range(2, 302)))
        lines = scene.reports.take(296)
    assert {pid for _, _, pid in lines} == {swift}
    assert scene.until(consumers=2)["leased"] <= 5


# --- calls ------------------------------------------------------------------------------------


def test_a_result_finds_its_caller_and_no_other(make: Make) -> None:
    """Two callers with the same correlation, and one that has gone."""
    scene = make()
    with scene.raw(Hello("producer", "q")) as one, scene.raw(Hello("producer", "q")) as two:
        gone = scene.raw(Hello("producer", "q"))
        gone.send(put(1, "nobody's", reply=5))
        scene.until(depth=1, calls=1)
        with RawConsumer(scene) as consumer:
            lost, *_ = consumer.next()
            gone.socket.close()
            one.send(put(1, "one's", reply=5))
            two.send(put(1, "two's", reply=5))
            chunks: dict[str, int] = {}
            for _ in range(2):
                chunk, _, options, messages = consumer.next()
                assert options.reply == 5
                chunks[messages[0]] = chunk
            for name, chunk in [("nobody's", lost), *chunks.items()]:
                answer = Reply(True, msgspec.msgpack.encode(f"for {name}"))
                consumer.raw.send(frame(Kind.REPLY, msgspec.msgpack.encode(answer), 0, chunk))
            for caller, name in ((one, "one's"), (two, "two's")):
                correlation, body = next(
                    (a, b) for kind, a, b in caller.frames() if kind == Kind.RESULT
                )
                reply = msgspec.msgpack.decode(body, type=Reply)
                assert (correlation, msgspec.msgpack.decode(reply.body)) == (5, f"for {name}")
        scene.until(depth=0, calls=0, settled_total=3)


def test_a_cancelled_call_is_dropped(make: Make) -> None:
    """If nobody has begun it."""
    scene = make()
    with scene.raw(Hello("producer", "q")) as caller:
        caller.send(put(1, "a", reply=1) + frame(Kind.CANCEL, argument=1))
        scene.until(accepted_total=1, depth=0, calls=0, dropped_total=1)


# --- durable ----------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", ["full", "process"])
def test_a_durable_queue_survives_its_broker(make: Make, durable: str) -> None:
    """What was confirmed, its dead letters, and what is known of its producers."""
    scene = make(durable=durable)
    with scene.raw(Hello("producer", "q", "me")) as producer, RawConsumer(scene, 2) as consumer:
        producer.send(b"".join(put(n, n) for n in range(1, 7)))
        while producer.expect(Kind.CONFIRM)[0] < 6:
            pass
        first, *_ = consumer.next()
        second, *_ = consumer.next()
        consumer.nack(first, action="dead", reason="no good")
        consumer.ack(second, 1)
        scene.until(depth=4, dead=1)
        producer.send(put(7, 7))  # what is confirmed after it, was written with it
        producer.expect(Kind.CONFIRM)
    scene.kill(scene.broker)
    scene.start_broker()
    with scene.raw(Hello("producer", "q", "me")) as producer, RawConsumer(scene) as consumer:
        producer.send(put(6, 6) + put(7, 7) + put(8, 8))
        while producer.expect(Kind.CONFIRM)[0] < 8:
            pass
        came = [consumer.next() for _ in range(6)]
        assert [messages[0] for _, _, _, messages in came] == [3, 4, 5, 6, 7, 8]
        assert [attempt for _, attempt, _, _ in came] == [2, 2, 2, 2, 2, 1]
        (letter,) = command(scene, "dead_list")["letters"]
        assert (letter["reason"], letter["message"]) == ("no good", b"\x01")


def test_a_refusal_survives_the_broker(make: Make) -> None:
    """What was refused is refused again by the successor, though what came after it was taken."""
    scene = make(durable="process", capacity=1, overflow="reject")
    with scene.raw(Hello("producer", "q", "me")) as producer, RawConsumer(scene) as consumer:
        producer.send(put(1, 1) + put(2, 2))
        assert {next(producer.frames())[0] for _ in range(2)} == {Kind.CONFIRM, Kind.REJECTED}
        consumer.ack(consumer.next()[0], 1)
        scene.until(depth=0)
        producer.send(put(3, 3))
        assert producer.expect(Kind.CONFIRM)[0] == 3
    scene.kill(scene.broker)
    scene.start_broker()
    with scene.raw(Hello("producer", "q", "me")) as producer:
        producer.send(put(2, 2) + put(3, 3))
        assert rejected(producer)[0] == 2
        assert producer.expect(Kind.CONFIRM)[0] == 3
    assert scene.stat()["depth"] == 1


def test_an_orderly_end_of_the_broker_keeps_acknowledgements_too(make: Make) -> None:
    """Nothing comes again that was settled."""
    scene = make(durable="full")
    with scene.raw(Hello("producer", "q", "me")) as producer, RawConsumer(scene) as consumer:
        producer.send(put(1, 1) + put(2, 2))
        chunk, *_ = consumer.next()
        consumer.ack(chunk, 1)
        scene.until(settled_total=1)
        os.kill(scene.broker, signal.SIGTERM)
        assert scene.ended(scene.broker) == 0
    scene.start_broker()
    assert scene.stat()["depth"] == 1
