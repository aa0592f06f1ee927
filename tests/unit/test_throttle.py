"""The limits of what one worker may say: messages and bytes, at once and per second."""

import itertools

from supervisor.shell.throttle import BYTE_RATE, BYTES, MESSAGE_RATE, MESSAGES, Throttle


def heard(size: int, seconds: float) -> int:
    """Count the messages of a flood that are read in a span of time."""
    throttle, now = Throttle(0.0), 0.0
    for count in itertools.count(1):
        now += throttle.spend(size, now)
        if now > seconds:
            return count
    raise AssertionError


def test_beats_are_never_held_up() -> None:
    """Ten a second for a minute: no pause."""
    throttle = Throttle(0.0)
    assert not any(throttle.spend(30, n / 10) for n in range(600))


def test_a_flood_of_small_messages_is_read_at_the_rate() -> None:
    """Over ten seconds no more than the burst and ten seconds' worth, and not much less."""
    allowed = MESSAGES + 10 * MESSAGE_RATE
    assert allowed * 0.9 < heard(10, 10.0) <= allowed * 1.02


def test_a_flood_of_large_messages_is_read_at_the_byte_rate() -> None:
    """64 KiB each: the bytes are what runs out first."""
    allowed = BYTES + 10 * BYTE_RATE
    assert allowed * 0.8 < heard(1 << 16, 10.0) * (1 << 16) <= allowed * 1.1


def test_a_pause_is_long_enough_to_be_worth_a_wake_up() -> None:
    """A flooder costs at most some ten wake-ups a second, however small its messages are."""
    throttle, now, pauses = Throttle(0.0), 0.0, 0
    while now < 10.0:
        pause = throttle.spend(10, now)
        pauses += pause > 0
        now += pause
    assert pauses <= 110
