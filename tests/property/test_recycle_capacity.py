"""Whatever crosses its limits, crashes, or starts slowly: capacity and tokens hold (T1)."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.census import Policy
from supervisor.core.thresholds import MIB, Limits
from tests.recycle_world import Child, World

GIB = 1024 * MIB

children = st.builds(
    lambda slots, leak, start, drain, age, failing, trims: Child(
        slots,
        Limits(memory_soft=100 * MIB, memory_hard=160 * MIB, max_age=age),
        leak=leak * MIB,
        start=lambda r: r.uniform(0, start),
        drain=lambda r: r.uniform(0, drain),
        fails=lambda r: r.random() < failing,
        trims=trims,
    ),
    slots=st.integers(1, 12),
    leak=st.sampled_from([0.0, 0.001, 0.05, 1.0]),
    start=st.sampled_from([0.01, 1.0, 20.0]),
    drain=st.sampled_from([0.0, 2.0, 15.0]),
    age=st.sampled_from([60.0, 300.0, 86_400.0]),
    failing=st.sampled_from([0.0, 0.3, 1.0]),
    trims=st.sampled_from([0.0, 0.5]),
)


@given(
    web=children,
    mail=children,
    tokens=st.sampled_from([None, 1, 3]),
    crashes=st.lists(st.tuples(st.floats(0, 1800), st.integers(0, 23)), max_size=12),
    starts=st.lists(st.tuples(st.floats(0, 1800), st.floats(0, 300)), max_size=2),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_capacity_and_tokens_hold(
    web: Child,
    mail: Child,
    tokens: int | None,
    crashes: list[tuple[float, int]],
    starts: list[tuple[float, float]],
    seed: int,
) -> None:
    """With room for two, nobody is stopped first; never more at once than there are tokens."""
    world = World({"web": web, "mail": mail}, Policy(64 * GIB, tokens), seed)
    paths = sorted(world.slots)
    for when, which in crashes:
        path = paths[which % len(paths)]
        world.at(when, lambda path=path: world.crash(path))

    def set_running(on: bool) -> None:
        world.running = on

    for when, seconds in starts:
        world.at(when, lambda: set_running(False))
        world.at(when + seconds, lambda: set_running(True))
    world.run(until=1800)
    assert world.deficit == 0.0
    assert world.most_at_once <= (tokens or max(1, len(paths) // 10))
    begun = [when for when, _ in world.starts]
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(begun))


@given(seed=st.integers(0, 1000), slots=st.integers(2, 12), full=st.booleans())
@settings(max_examples=30)
def test_without_room_growth_decides_who_is_stopped(seed: int, slots: int, full: bool) -> None:
    """With no memory left for two at once only the budget and the hard limit stop a worker."""
    leaking = Child(1, Limits(memory_soft=100 * MIB, memory_hard=160 * MIB), leak=0.5 * MIB)
    quiet = Child(slots, Limits(max_age=60.0))
    budget = 20 * MIB * (slots + 1) + 100 * MIB
    world = World({"leak": leaking, "quiet": quiet}, Policy(budget), seed)
    world.available = 0 if full else 1 << 40
    world.psi_full = 0.0 if full else 50.0
    world.run(until=900)
    assert {path for _, path in world.starts} == {"leak.0"}
    assert world.highest_used <= budget + 160 * MIB
