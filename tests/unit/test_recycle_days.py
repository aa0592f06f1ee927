"""Ten thousand days under the arbiter: no dip of capacity, no herd."""

from collections import Counter
from itertools import pairwise

from supervisor.core.census import Policy
from supervisor.core.thresholds import MIB, Limits
from tests.recycle_world import DAY, Child, World

GIB = 1024 * MIB


def test_ten_thousand_days_without_a_dip_or_a_herd() -> None:
    """Workers that age, leak and crash for 10,000 days: always one at a time, never one short."""
    limits = Limits(memory_soft=200 * MIB, memory_hard=400 * MIB, max_age=DAY)
    leak = 180 * MIB / (1.3 * DAY)  # soft is reached some time after max_age, crashes permitting
    children = {
        "web": Child(4, limits, start=lambda r: r.uniform(0.1, 3.0)),
        "mail": Child(2, limits, leak=leak, fails=lambda r: r.random() < 0.02, trims=0.1),
    }
    world = World(children, Policy(2 * GIB), seed=4)
    for _ in range(2_000):
        path = world.random.choice(list(world.slots))
        world.at(world.random.uniform(0, 10_000 * DAY), lambda path=path: world.crash(path))
    world.run(until=10_000 * DAY)

    assert world.deficit == 0.0
    assert world.most_at_once == 1
    recycles = Counter(path for _, path in world.starts)
    assert all(8_000 < count < 10_500 for count in recycles.values()), recycles
    times = [when for when, _ in world.starts]
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(times))
    assert world.highest_used < 6 * 400 * MIB


def test_a_pool_that_started_at_once_does_not_come_due_at_once() -> None:
    """Thirty workers of the same age are recycled over hours, not minutes."""
    world = World({"web": Child(30)}, Policy(16 * GIB), seed=1)
    world.run(until=1.5 * DAY)
    times = [when for when, _ in world.starts]
    first = times[:30]
    assert len({path for _, path in world.starts[:30]}) == 30
    assert first[-1] - first[0] > 7_200
    assert world.deficit == 0.0
