"""The decisions of a queue's clients: windows, options, what becomes of failures and refusals."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from workers.loops.batch import Batch
from workers.loops.failure import failure
from workers.producer import in_time
from workers.queues.client.put_options import PutOptions, Routing, checked, encoded
from workers.queues.client.serializers import decoder_of, encoder_of
from workers.queues.client.unconfirmed import Sent, Unconfirmed
from workers.queues.client.window import FIRST, MOST, WARY, Window
from workers.queues.client.writer import BATCH
from workers.queues.errors import (
    QueueClosed,
    QueueFull,
    QueueNotDurable,
    Reject,
    Retry,
    rejection,
)
from workers.queues.frames import Options, Rejected

# --- windows --------------------------------------------------------------------------------------


def test_a_window_grows_to_what_is_handled_in_a_while() -> None:
    """Fast handlers get as many as there may be, slow ones a quarter of a second of work."""
    fast, slow = Window(), Window()
    assert fast.messages == FIRST
    assert fast.measured(100, 0.0001)
    assert fast.messages == MOST
    assert slow.measured(1, 0.05)
    assert slow.messages == 5


def test_a_window_is_never_empty() -> None:
    """A handler of many seconds has one message, and no more."""
    window = Window()
    assert window.measured(1, 100.0)
    assert window.messages == 1
    assert not window.measured(1, 200.0)


def test_a_window_follows_a_handler_that_becomes_slow_at_once() -> None:
    """What is slower than before counts more than what is faster."""
    window = Window()
    window.measured(1000, 0.001)
    assert window.messages == MOST
    window.measured(1, 1.0)
    assert window.messages == 1
    for _ in range(3):
        window.measured(1, 0.001)
    assert window.messages < 10


def test_a_burst_is_what_is_handled_in_no_time() -> None:
    """A fast handler may have many messages while others have none, a slow one has one."""
    fast, middling, slow = Window(), Window(), Window()
    fast.measured(1000, 0.0005)
    middling.measured(10, 0.001)
    slow.measured(1, 0.001)
    assert (fast.burst, middling.burst, slow.burst) == (1000, 5, 1)


def test_a_batch_is_not_spread() -> None:
    """What is handled together is sent together, however long it takes."""
    window = Window(together=100)
    window.measured(100, 1.0)
    assert window.burst == 100


def test_one_spell_without_a_processor_does_not_end_a_burst() -> None:
    """What a burst is changes in small steps; a handler that stays slow has one soon."""
    window = Window()
    window.measured(1000, 0.001)
    before = window.burst
    assert not window.measured(100, 0.005)
    assert not window.measured(1000, 0.001)
    assert window.burst == before
    for _ in range(12):
        window.measured(5, 0.005)
    assert window.burst == 1


def test_a_long_message_ends_a_burst_for_a_while() -> None:
    """Who handles most in no time, and some not, has no burst; it comes back when all are fast."""
    window = Window()
    window.measured(1000, 0.001)
    assert window.burst
    window.measured(1, 0.1)
    assert window.burst == 1
    for _ in range(WARY - 1):
        window.measured(10, 0.0001)
    assert window.burst == 1
    window.measured(10, 0.0001)
    assert window.burst == 50


def test_small_changes_are_not_worth_a_frame() -> None:
    """A window does not change for less than a half."""
    window = Window()
    window.measured(1, 0.01)
    assert window.messages == 25
    assert not window.measured(1, 0.009)
    assert window.messages == 25


def test_a_fixed_window_stays() -> None:
    """What the author has said is not tuned; nor does it exceed the queue."""
    window = Window(fixed=7)
    window.measured(1000, 0.0)
    assert (window.messages, window.burst) == (7, 7)
    small = Window(most=5)
    small.measured(1000, 0.001)
    assert small.messages == 5


# --- options --------------------------------------------------------------------------------------


@dataclass
class Order:
    """A message that is an object."""

    tenant: str
    number: int


@pytest.mark.parametrize("message", [{"tenant": "a", "number": 7}, Order("a", 7)])
def test_a_queue_reads_keys_out_of_messages(message: object) -> None:
    """`fair_by` and `dedupe_by` name fields; what is said with the put goes before."""
    routing = Routing("tenant", "number")
    assert routing.of(message, {}) == Options(key="a", dedupe="7")
    assert routing.of(message, {"key": "b", "dedupe": "c"}) == Options(key="b", dedupe="c")


def test_a_message_without_the_field_has_no_key() -> None:
    """A missing or empty field is the key that is none; one that cannot be a key is an error."""
    assert Routing("tenant").of([1, 2], {}) == Options()
    assert Routing("tenant", "id").of({"tenant": None, "id": None}, {}) == Options()
    with pytest.raises(TypeError, match="tenant"):
        Routing("tenant").of({"tenant": {"no": "key"}}, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": 10},
        {"priority": -1},
        {"ttl": -1.0},
        {"ttl": math.nan},
        {"delay": -1},
        {"delay": math.inf},
    ],
)
def test_options_have_ranges(wrong: dict[str, float]) -> None:
    """What is out of its range is a ValueError at the put."""
    with pytest.raises(ValueError, match="allowed"):
        checked(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"key": 5}, "key is 5; allowed: a string"),
        ({"dedupe": None}, "dedupe is None; allowed: a string"),
        ({"ttl": "5"}, "ttl is '5'; allowed: seconds"),
        ({"priority": True}, "priority is True; allowed: a whole number"),
        ({"headers": {"a": 1}}, "allowed: a dict of strings"),
        ({"traceparent": 5}, "traceparent is 5"),
        ({"reply": 1}, "a put has no option 'reply'; there are: priority, key"),
    ],
)
def test_options_have_types(wrong: dict[str, object], said: str) -> None:
    """What the broker could not read is a TypeError at the put: it would refuse all that follow."""
    with pytest.raises(TypeError, match=said):
        checked(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"key": "k" * 20_000}, {"headers": {"a": "x" * 20_000}}])
def test_options_have_a_size(options: PutOptions) -> None:
    """What the broker would not take for its size is a ValueError at the put."""
    with pytest.raises(ValueError, match="allowed: 16384"):
        encoded(checked(options))


def test_a_trace_travels_as_a_header() -> None:
    """`traceparent` is a header like others, beside them."""
    made = checked({"headers": {"a": "b"}, "traceparent": "00-1-2-01"})
    assert made.headers == {"a": "b", "traceparent": "00-1-2-01"}
    assert encoded(checked({})) == b""


# --- failures and refusals ------------------------------------------------------------------------


def test_what_a_handler_asks_for_ends_nobody() -> None:
    """`Retry` and `Reject` are no failures, whatever the policy."""
    again, never = failure(Retry(2.5, "busy"), "crash"), failure(Reject("bad"), "crash")
    assert (again.nack.action, again.nack.delay, again.nack.reason) == ("retry", 2.5, "busy")
    assert (never.nack.action, never.nack.reason) == ("dead", "bad")
    assert not again.crashes
    assert not never.crashes


def test_a_failure_goes_with_its_message() -> None:
    """The error and its traceback are told; the policy says whether the process ends."""
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018 - it raises
    judged = failure(caught.value, "crash")
    assert judged.crashes
    assert not failure(caught.value, "retry").crashes
    assert judged.nack.error == "ZeroDivisionError: division by zero"
    assert "test_a_failure_goes_with_its_message" in judged.nack.traceback


@pytest.mark.parametrize("after", [math.nan, math.inf, "5", 1e300, [1]])
def test_a_retry_has_a_time_that_comes(after: float) -> None:
    """What is no time to come again is refused where it is said; a time that is over is none."""
    with pytest.raises(ValueError, match="allowed: seconds"):
        Retry(after)
    assert Retry(-1.0).after == 0.0
    assert Retry(None).after is None


def test_a_batch_knows_its_messages() -> None:
    """An index counts as that of a list does: what is not there is an error, not left out."""
    batch = Batch(["a", "b", "c"])
    batch.nack(-1, 1.0)
    batch.reject(0)
    assert sorted(batch.outcomes) == [0, 2]
    with pytest.raises(IndexError):
        batch.nack(3)
    with pytest.raises(IndexError):
        batch.reject(-4)


def test_an_error_that_cannot_be_said_is_said_in_part() -> None:
    """An exception whose text raises is told by its type: the author's policy holds for it."""

    class WordlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    judged = failure(WordlessError(), "retry")
    assert judged.nack.error == "WordlessError: <its str() raised RuntimeError>"
    assert "WordlessError" in judged.nack.traceback


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("full", QueueFull),
        ("shed", QueueFull),
        ("closed", QueueClosed),
        ("store", QueueNotDurable),
        ("something new", QueueFull),
    ],
)
def test_each_refusal_is_an_error_of_its_own(reason: str, error: type[QueueFull]) -> None:
    """All of them are a QueueFull: who does not care which need not."""
    made = rejection("orders", Rejected(reason, "why"), 3)
    assert type(made) is error
    assert made.messages == 3
    assert "orders" in str(made)
    assert "why" in str(made)


def test_what_was_refused_is_told_once() -> None:
    """A refused frame is not confirmed, and is given out one time."""
    unconfirmed = Unconfirmed()
    for sequence in (1, 2, 3):
        unconfirmed.add(Sent(sequence, 5, bytearray(10)))
    unconfirmed.refuse(2, Rejected("full"))
    unconfirmed.confirm(3)
    assert not unconfirmed
    assert unconfirmed.any_refused
    assert [sent.sequence for sent, _ in unconfirmed.take_refused()] == [2]
    assert not unconfirmed.take_refused()
    assert unconfirmed.messages == unconfirmed.bytes == 0


def test_serializers_are_three() -> None:
    """Another name is a ValueError that says which there are."""
    for make in (encoder_of, lambda name: decoder_of(name, int)):
        with pytest.raises(ValueError, match="pickle"):
            make("yaml")


# --- chunks of who has to beat --------------------------------------------------------------------


def test_what_comes_slowly_is_put_in_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full ones, or what came in so many seconds: then it is time to beat."""
    now = 0.0

    def slowly() -> Iterator[int]:
        nonlocal now
        for number in range(5):
            now += 0.4
            yield number

    monkeypatch.setattr("workers.producer.time.monotonic", lambda: now)
    assert list(in_time(slowly(), 1.0)) == [[0, 1, 2], [3, 4]]
    chunks = list(in_time(range(2 * BATCH + 1), 1.0))
    assert [len(chunk) for chunk in chunks] == [BATCH, BATCH, 1]
    assert list(in_time([], 1.0)) == []
