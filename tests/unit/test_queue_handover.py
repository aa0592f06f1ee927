"""When the broker steps aside for whom it has sent a message to."""

import pytest

from workers.queues.broker import handover
from workers.queues.broker.handover import REST, SHORT, Handover


class World:
    """A processor that somebody else takes for ``busy`` seconds whenever it is given away."""

    def __init__(self) -> None:
        self.now, self.busy, self.given = 100.0, 0.0, 0

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    def sched_yield(self) -> None:
        """Give the processor away."""
        self.given += 1
        self.now += self.busy


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A processor that nobody else wants."""
    made = World()
    monkeypatch.setattr(handover, "time", made)
    monkeypatch.setattr(handover, "os", made)
    return made


def test_it_steps_aside_each_time_where_that_is_short(world: World) -> None:
    """Whoever runs then is who the message was for."""
    one = Handover()
    world.busy = SHORT / 2
    for _ in range(5):
        one.give_way()
    assert world.given == 5


def test_it_does_not_where_others_work(world: World) -> None:
    """Once in a while it finds out, and is late once."""
    one = Handover()
    world.busy = 0.003
    for _ in range(1000):
        one.give_way()
        world.now += 0.001
    assert world.given == 1
    world.now += REST
    one.give_way()
    assert world.given == 2


def test_it_steps_aside_again_when_the_others_have_done(world: World) -> None:
    """As soon as the rest after the last that took long is over."""
    one = Handover()
    world.busy = 0.003
    one.give_way()
    world.busy = 0.0
    world.now += REST
    for _ in range(5):
        one.give_way()
    assert world.given == 6
