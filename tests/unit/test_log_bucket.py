"""Floods: what passes, how long a writer is held up, what is dropped."""

import math

import pytest

from supervisor.logs.bucket import PATIENCE, Flow, Gate, Rate, space_factor


def flood(gate: Gate, until: float, factor: float = 1.0) -> tuple[int, list[tuple[float, Flow]]]:
    """Offer lines without end; returns how many passed, and each change of what is done."""
    now, passed, flows = 0.0, 0, [(0.0, gate.flow)]
    while now < until:
        lines, _ = gate.look(now, factor)
        if gate.flow is Flow.PASSING and lines < 1:
            gate.exhausted(now)
        if gate.flow is not flows[-1][1]:
            flows.append((now, gate.flow))
        if gate.flow is Flow.PASSING:
            gate.take(int(lines), 0)
            passed += int(lines)
        else:
            now = max(gate.wake_at(factor), now + 0.001)
    return passed, flows


def test_what_is_within_the_rate_always_passes() -> None:
    """A burst of a whole period, then one line at a time."""
    gate = Gate(Rate(100, 10.0), 0.0)
    assert gate.look(0.0)[0] == 100
    gate.take(100, 100)
    for second in range(1, 50):
        lines, _ = gate.look(float(second))
        assert gate.flow is Flow.PASSING
        assert lines >= 9
        gate.take(9, 9)


def test_a_flood_holds_its_writer_up_once_and_not_for_long() -> None:
    """Half a second at the beginning, then it is thinned without anybody waiting."""
    passed, flows = flood(Gate(Rate(1000, 30.0), 0.0), 60.0)
    held = [now for now, flow in flows if flow is Flow.HOLDING]
    assert len(held) == 1
    assert flows[2][0] - held[0] <= PATIENCE + 0.002
    assert 2900 <= passed <= 3000


def test_patience_comes_back_when_the_bucket_is_full() -> None:
    """The next flood is a new one."""
    gate = Gate(Rate(100, 10.0), 0.0)
    assert len([1 for _, flow in flood(gate, 5.0)[1] if flow is Flow.HOLDING]) == 1
    gate.look(60.0)
    gate.take(100, 0)
    gate.look(60.0)
    gate.exhausted(60.0)
    assert gate.flow is Flow.HOLDING


def test_bytes_are_limited_too() -> None:
    """Few but long lines are a flood as well."""
    gate = Gate(Rate(math.inf, 30.0, bytes=1000), 0.0)
    gate.take(1, 1500)
    assert gate.look(0.1)[1] == 0
    assert gate.look(1.0)[1] == 500


@pytest.mark.parametrize(("free", "factor"), [(0, 1.0), (1 << 20, 1.0), (1 << 30, 3.5)])
def test_more_passes_where_there_is_room(free: int, factor: float) -> None:
    """As in journald: the factor grows with the logarithm of the free space."""
    assert space_factor(free) == factor


def test_unlimited_is_unlimited() -> None:
    """inf is no limit."""
    gate = Gate(Rate(math.inf, 30.0, math.inf), 0.0)
    gate.take(10**9, 10**12)
    assert gate.look(0.0) == (math.inf, math.inf)
    assert not Rate(math.inf, 30.0, math.inf).limited
