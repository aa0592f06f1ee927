"""Who is silent in the middle of a frame: found by the time since the last byte of it."""

import math

from workers.queues.broker.unfinished import SILENCE, Unfinished


def test_each_byte_begins_the_silence_anew() -> None:
    """Who goes on, however slowly, is never overdue; who does not is, once."""
    found = Unfinished()
    found.heard(1, 0.0)
    found.heard(2, 1.0)
    for now in (SILENCE / 2, SILENCE, 2 * SILENCE - 1.0):
        found.heard(1, now)
        assert 1 not in found.overdue(now)
    assert found.overdue(2 * SILENCE) == []  # the second one was told before
    assert found.overdue(3 * SILENCE) == [1]
    assert found.due == math.inf


def test_who_has_ended_a_frame_is_not_looked_at() -> None:
    """Nothing is due any more, at the latest when it would have been."""
    found = Unfinished()
    found.heard(1, 0.0)
    found.ended(1)
    found.ended(1)
    assert found.due == SILENCE
    assert (found.overdue(SILENCE), found.due) == ([], math.inf)


def test_what_is_due_next_is_who_was_heard_first() -> None:
    """Of several, each is found at its own time."""
    found = Unfinished()
    for number in (1, 2, 3):
        found.heard(number, float(number))
    found.heard(1, 4.0)
    assert found.overdue(SILENCE + 2.0) == [2]
    assert found.due == SILENCE + 3.0
