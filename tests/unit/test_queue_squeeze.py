"""A squeezed queue: the machine is short of memory, so less is worked on at once."""

import pytest

from tests.queue_world import World
from workers.queues.broker.management import manage
from workers.queues.frames import Command


def squeeze(world: World, on: bool = True) -> None:
    """Do as the arbiter does."""
    name = "squeeze" if on else "relax"
    assert manage(world.core, Command(name, "q"), world.now) == {"squeezed": on}


def held(world: World, number: int = 1) -> int:
    """Count the messages that a consumer has."""
    world.deliver()
    return world.core.delivery.consumers[number].held


def filled(messages: int = 50) -> World:
    """Make a queue with messages."""
    world = World()
    for number in range(messages):
        world.put(number)
    return world


@pytest.mark.parametrize(("window", "half"), [(10, 5), (7, 4), (1, 1), (0, 0)])
def test_consumers_get_half_of_what_they_ask_for(window: int, half: int) -> None:
    """One message at least; and all of it when there is memory again."""
    world = filled()
    squeeze(world)
    world.consumer(1, window)
    assert held(world) == half
    squeeze(world, False)
    assert held(world) == window


def test_what_a_consumer_has_it_keeps() -> None:
    """It gets nothing more until it has less than half."""
    world = filled()
    world.consumer(1, window=10)
    chunks = world.deliver()
    squeeze(world)
    for settled, chunk in enumerate(chunks[:8], start=1):
        world.ack(1, chunk)
        assert held(world) == max(5, 10 - settled)


def test_a_consumer_that_asks_for_another_number_gets_half_of_that() -> None:
    """And one that comes while the queue is squeezed."""
    world = filled()
    world.consumer(1, window=2)
    squeeze(world)
    world.core.window(1, 20, world.now)
    world.consumer(2, window=8)
    assert (held(world), held(world, 2)) == (10, 4)
