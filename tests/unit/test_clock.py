"""The watch on the wall clock: steps are told, drift is not."""

from supervisor.root.clock import STEP, ClockWatch


def told(offsets: list[float]) -> list[float]:
    """Return what is told when the wall clock differs from the monotonic one by this, in turn."""
    found: list[float] = []
    wall = iter([1000.0 + n + offset for n, offset in enumerate(offsets)])
    watch = ClockWatch(lambda: next(wall), found.append)
    for n in range(len(offsets)):
        watch.look(float(n))
    return found


def test_a_step_is_told_once_either_way() -> None:
    """By how much, forward or back; not again at the next look."""
    assert told([0, 0, 3600, 3600, -60, -60]) == [3600, -3660]


def test_slewing_is_no_step() -> None:
    """Half of the limit a look, for ever: NTP at work, or many passes without a look."""
    assert told([n * STEP / 2 for n in range(100)]) == []
