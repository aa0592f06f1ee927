"""Queues, messages and dead letters as they are shown on a terminal."""

import datetime
from typing import Any

import msgspec
import pytest

from supervisor.cli import dlq
from supervisor.cli.broker import message_of
from supervisor.cli.queue_view import (
    letter_text,
    letters_text,
    messages_text,
    queue_text,
    queues_text,
)
from supervisor.control.messages import QueueCommand
from supervisor.root.broker_call import MAX_ANSWER
from workers.queues.core.burial import MAX_TRACEBACK
from workers.queues.frames import MAX_BODY

STATISTICS: dict[str, Any] = {
    "name": "orders", "depth": 7, "capacity": 100, "bytes": 700, "bytes_capacity": 1 << 20,
    "oldest_age_s": 75.0, "leased": 2, "consumers": 1, "blocked": 0, "dead": 3,
    "dead_capacity": 1000, "dead_full": False, "paused": False, "closed": False, "durable": "full",
    "store": "ok", "damage": 0, "accepted_total": 12,
}  # fmt: skip
LETTER: dict[str, Any] = {
    "id": 5, "message": {"n": 1}, "size": 4, "reason": "failed", "attempts": 5,
    "error": "ValueError: \x1b[2Jno", "traceback": "line 1\nline 2\x07", "first_put": 1.0,
    "died": 2.0, "whole": True,
}  # fmt: skip


def test_a_queue_in_order_is_ok() -> None:
    """A table of queues says how full each is, and that nothing is wrong."""
    head, row = queues_text([STATISTICS], colour=False).splitlines()
    assert head.split() == [
        "QUEUE", "MESSAGES", "LEASED", "CONSUMERS", "BLOCKED", "DEAD", "OLDEST", "STATE",
    ]  # fmt: skip
    assert row.split() == ["orders", "7/100", "2", "1", "0", "3", "1m", "ok"]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"paused": True}, "paused"),
        ({"closed": True}, "closed"),
        ({"dead_full": True}, "dead letters full"),
        ({"damage": 2}, "damaged (2)"),
        ({"store": "full: no space is left"}, "store full: no space is left"),
    ],
    ids=str,
)
def test_what_is_out_of_the_ordinary_is_said(changed: dict[str, Any], word: str) -> None:
    """A queue that does not work as always says why, in the table and by itself."""
    assert queues_text([{**STATISTICS, **changed}], colour=False).endswith(word)
    assert word in queue_text({**STATISTICS, **changed}, colour=False).splitlines()[0]


def test_how_long_producers_are_held_back_is_shown() -> None:
    """Beside their number, by the one that has waited longest; with each figure by itself."""
    waits = {"blocked": 2, "blocked_longest_seconds": 75.2, "blocked_seconds_total": 100.0}
    held = {**STATISTICS, **waits}
    assert "2 (1m)" in queues_text([held], colour=False)
    lines = [" ".join(line.split()) for line in queue_text(held, colour=False).splitlines()]
    assert {"blocked longest seconds 75.2", "blocked seconds total 100.0"} <= set(lines)


def test_an_app_without_queues_says_so() -> None:
    """No table of nothing."""
    assert queues_text([], colour=False) == "the app has no queues"
    assert messages_text([]) == "no messages wait"
    assert letters_text([], 0) == "no dead letters"


def test_letters_cannot_move_the_cursor() -> None:
    """What a worker wrote into an error or a traceback is cleaned of what a terminal obeys."""
    for text in (letters_text([LETTER], 1), letter_text(LETTER)):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "ValueError: no" in text
    assert "line 1\nline 2" in letter_text(LETTER)


def test_a_page_of_letters_says_that_there_are_more() -> None:
    """Of more letters than are shown, the number is said."""
    assert "1 of 30" in letters_text([LETTER], 30)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"a": [1, 2.5, None, True]}, {"a": [1, 2.5, None, True]}),
        (b"\x00\xff", "00ff"),
        ({1: b"x"}, {"1": "78"}),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02 00:00:00+00:00"),
    ],
    ids=["json", "bytes", "keys", "time"],
)
def test_messages_are_shown_as_json(message: object, shown: object) -> None:
    """Whatever a message is made of, it can be printed as JSON."""
    encoded = msgspec.msgpack.encode(message)
    assert message_of(encoded, len(encoded)) == shown


def test_what_is_no_message_is_shown_as_bytes() -> None:
    """Part of a message, or a pickled one, is never decoded into something else."""
    assert message_of(b"\x80\x04\x95garbage", 10) == {
        "bytes": b"\x80\x04\x95garbage".hex(),
        "size": 10,
    }
    assert message_of(msgspec.msgpack.encode("whole")[:3], 6)["size"] == 6  # type: ignore[index]


def test_letters_are_asked_for_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand letters of a MiB are no single answer, nor a thousand ids one question."""
    asked: list[list[int]] = []

    def ask(_control: str, command: QueueCommand, _timeout: float) -> dict[str, Any]:
        asked.append(command.ids)
        return {"letters": [{"id": number} for number in command.ids]}

    monkeypatch.setattr(dlq, "ask_queues", ask)
    ids = tuple(range(2000))
    assert [one["id"] for one in dlq._named("", "orders", ids, 1.0)] == list(ids)
    assert max(map(len, asked)) * (MAX_BODY + MAX_TRACEBACK) < MAX_ANSWER
