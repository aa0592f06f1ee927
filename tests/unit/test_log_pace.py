"""Naps of the log pump: when it waits for more, and that no writer has to wait for it."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.logs.pace import CLOSE, FILLED, NAP, Pace

KiB = 1024


def pace_after(passed: float, count: int, room: int, *, behind: bool = False) -> float:
    """Return the nap after a piece that came so many seconds after another."""
    pace = Pace()
    pace.took(1, room)
    pace.nap(100.0)
    pace.took(count, room, behind=behind)
    return pace.nap(100.0 + passed)


def test_a_line_by_itself_is_followed_by_no_nap() -> None:
    """The next one is taken at once, too."""
    pace = Pace()
    pace.took(200, 64 * KiB)
    assert pace.nap(100.0) == 0
    assert pace_after(CLOSE, 200, 64 * KiB) == 0


def test_lines_that_come_close_are_gathered() -> None:
    """A nap follows each piece that was close upon the one before."""
    assert pace_after(CLOSE / 2, 200, 64 * KiB) == NAP


def test_after_a_quiet_time_it_hesitates() -> None:
    """Before the first look, not while pieces come close upon each other."""
    pace = Pace()
    assert pace.hesitation(100.0) == NAP
    pace.took(200, 64 * KiB)
    pace.nap(100.0)
    assert pace.hesitation(100.0 + CLOSE / 2) == 0
    assert pace.hesitation(100.0 + CLOSE) == NAP


def test_a_pass_that_took_nothing_is_none() -> None:
    """It neither naps nor counts as a piece."""
    pace = Pace()
    pace.took(200, 64 * KiB)
    pace.nap(100.0)
    assert pace.nap(100.0 + CLOSE / 2) == 0
    pace.took(200, 64 * KiB)
    assert pace.nap(100.0 + CLOSE) == 0


def test_there_is_no_nap_while_more_is_known_to_wait() -> None:
    """It may be that the writer waits for room."""
    assert pace_after(CLOSE / 2, 200, 64 * KiB, behind=True) == 0


def test_the_fullest_pipe_counts() -> None:
    """A calm pipe beside it does not make the pump nap."""
    pace = Pace()
    pace.took(1, 64 * KiB)
    pace.nap(100.0)
    pace.took(60 * KiB, 64 * KiB)
    pace.took(10, 64 * KiB)
    assert pace.nap(100.0 + NAP) == 0


@given(st.floats(1e-6, 1.0), st.integers(1, 1 << 20), st.sampled_from([4, 64, 256, 1024]))
def test_no_pipe_fills_up_during_a_nap(passed: float, count: int, room_kib: int) -> None:
    """At the speed that was seen, a nap brings no more than a part of what the pipe holds."""
    nap = pace_after(passed, count, room_kib * KiB)
    assert count / passed * nap <= FILLED * room_kib * KiB * 1.001
