"""What a light key waits for: its turn, and what consumers were sent before it came."""

import pytest

from tests.queue_world import World, messages
from workers.queues.client.window import FAIR_TARGET, TARGET, Window
from workers.queues.core.fair import MAX_CHUNK, QUANTUM


@pytest.mark.parametrize("windows", [[16], [1000], [40, 7, 300]])
def test_a_light_key_waits_for_what_was_sent_ahead_and_for_one_turn(windows: list[int]) -> None:
    """However much of the flood is leased when it comes, and however many keep on coming."""
    world = World(capacity=10_000, fair_by="tenant")
    for _ in range(100):
        world.put(*["flood"] * MAX_CHUNK, key="flood")
    for number, window in enumerate(windows):
        world.consumer(number, window)
    having = list(world.core.deliveries(world.now))
    ahead = sum(chunk.left for _, chunk in having)
    assert sum(windows) - MAX_CHUNK * len(windows) < ahead <= sum(windows)
    world.put("light", key="light")
    handled = 0
    while "light" not in messages(having[0][1]):
        number, chunk = having.pop(0)
        handled += chunk.left
        world.ack(number, chunk)
        world.put(*["flood"] * MAX_CHUNK, key="flood")
        having += world.core.deliveries(world.now)
    assert handled <= sum(windows) + QUANTUM + MAX_CHUNK - 1


def test_less_is_sent_ahead_where_keys_take_turns() -> None:
    """A twentieth of a second of work, where it is a quarter for others."""
    plain, fair = Window(), Window(fair=True)
    for _ in range(50):
        plain.measured(10, 0.01)
        fair.measured(10, 0.01)
    assert (plain.messages, fair.messages) == (TARGET / 0.001, FAIR_TARGET / 0.001)


def test_a_batch_is_sent_whole_where_keys_take_turns() -> None:
    """As long as it does not take longer than what is sent ahead elsewhere."""
    quick, slow = (Window(together=100, fair=True) for _ in range(2))
    for _ in range(50):
        quick.measured(100, 0.2)
        slow.measured(100, 1.0)
    assert (quick.messages, slow.messages) == (100, 25)


@pytest.mark.parametrize("fair", [False, True])
def test_each_lane_has_a_message(fair: bool) -> None:
    """However long messages take: they are worked on at once."""
    window = Window(lanes=100, fair=fair)
    assert window.messages == 100
    for _ in range(50):
        window.measured(16, 16 * 1.0 / 100)
    assert window.messages == 100
