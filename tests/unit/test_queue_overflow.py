"""What a queue does with a put: it fits, waits, is refused, or takes the place of another."""

import pytest

from tests.queue_world import World, messages
from workers.queues.broker.management import manage
from workers.queues.core import dedupe
from workers.queues.core.dedupe import Window
from workers.queues.core.intake import WAIT
from workers.queues.frames import Command


def test_block_lets_a_put_wait() -> None:
    """The default: what does not fit stays with its producer."""
    world = World(capacity=1)
    world.put("a")
    assert world.put("b") == "wait"
    assert world.core.counts.dropped == 0


@pytest.mark.parametrize("overflow", ["reject", "shed"])
def test_reject_refuses_what_does_not_fit(overflow: str) -> None:
    """The producer is told at once that it is full."""
    world = World(capacity=1, overflow=overflow)
    world.put("a")
    assert world.put("b") == "full"


def test_drop_oldest_makes_room_message_by_message() -> None:
    """Only as many as are in the way go, from the front, and are counted."""
    world = World(capacity=4, overflow="drop_oldest")
    world.put("a", "b", "c")
    world.put("d")
    assert world.put("e", "f") == ""
    world.consumer(1)
    assert world.take() == ["c", "d", "e", "f"]
    assert world.core.counts.dropped == 2
    assert world.balanced()


def test_drop_oldest_makes_room_for_bytes() -> None:
    """Whole chunks go where bytes are short."""
    world = World(max_bytes=40, overflow="drop_oldest")
    world.put("a" * 15)
    world.put("b" * 15)
    assert world.put("c" * 15) == ""
    world.consumer(1)
    assert [message[0] for message in world.take()] == ["b", "c"]


def test_drop_oldest_never_drops_what_somebody_works_on() -> None:
    """When consumers have it all, the new one is refused."""
    world = World(capacity=1, overflow="drop_oldest")
    world.put("a")
    world.consumer(1)
    (chunk,) = world.deliver()
    assert world.put("b") == "full"
    world.ack(1, chunk)
    assert world.put("b") == ""


@pytest.mark.parametrize("big", [["x"] * 6, ["x" * 40]], ids=["messages", "bytes"])
def test_drop_oldest_drops_nothing_that_makes_no_room(big: list[str]) -> None:
    """What is refused all the same costs nobody anything."""
    world = World(capacity=10, max_bytes=60, overflow="drop_oldest")
    world.consumer(1, window=5)
    for number in range(10):
        world.put(f"{number:03}")
    assert len(world.deliver()) == 5
    assert world.put(*big) == "full"
    assert (world.core.books.depth, world.core.counts.dropped) == (10, 0)


def test_drop_oldest_drops_what_waits_before_what_is_scheduled() -> None:
    """Then what is to be tried again, then what is delayed; each of these, what is due first."""
    world = World(capacity=6, overflow="drop_oldest", retry_backoff=(10.0, 10.0))
    world.put("retry")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.nack(1, chunk)
    world.leave(1)
    world.put("late", delay=9.0)
    world.put("s", "o", "on", delay=5.0)
    world.put("waits")
    left = []
    for number in range(5):
        assert world.put(number, delay=60.0) == ""
        left.append(sorted(str(m) for chunk in world.core.stock for m in messages(chunk)))
    assert left == [
        ["0", "late", "o", "on", "retry", "s"],
        ["0", "1", "late", "o", "on", "s"],
        ["0", "1", "2", "late", "o", "on"],
        ["0", "1", "2", "3", "late", "on"],
        ["0", "1", "2", "3", "4", "late"],
    ]
    assert world.balanced()
    world.wait(60.0)
    world.consumer(2)
    assert sorted(map(str, world.take(2))) == left[-1]


def test_a_closed_queue_takes_nothing_in() -> None:
    """It can be emptied then."""
    world = World()
    world.put("a")
    world.core.intake.closed = True
    assert world.put("b") == "closed"
    world.consumer(1)
    assert world.take() == ["a"]


# --- the same again -------------------------------------------------------------------------------


def test_the_same_key_is_a_duplicate_within_the_window() -> None:
    """However the first one ended: it was accepted."""
    world = World(dedupe_window=10.0)
    assert world.put("a", dedupe="order-1") == ""
    assert world.put("a", dedupe="order-1") == "duplicate"
    assert world.put("b", dedupe="order-2") == ""
    world.consumer(1)
    world.take()
    world.wait(9.9)
    assert world.put("a", dedupe="order-1") == "duplicate"
    world.wait(0.2)
    assert world.put("a", dedupe="order-1") == ""


def test_what_was_refused_is_no_duplicate() -> None:
    """Only what was accepted counts."""
    world = World(capacity=1, overflow="reject")
    world.put("a")
    assert world.put("b", dedupe="k") == "full"
    world.consumer(1)
    world.take()
    assert world.put("b", dedupe="k") == ""


def test_the_window_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys go with their time, and the oldest when there are too many."""
    monkeypatch.setattr(dedupe, "MAX_KEYS", 3)
    window = Window(5.0)
    for number in range(4):
        window.add(str(number), float(number))
    assert len(window) == 3
    assert [window.holds(str(number), 4.0) for number in range(4)] == [False, True, True, True]
    assert not window.holds("1", 6.5)
    assert len(window) == 2


def test_the_window_is_what_it_was_before() -> None:
    """What was kept of it is known again, until when it would have been."""
    before, after = Window(5.0), Window(5.0)
    before.add("a", 1.0)
    before.add("b", 2.0)
    before.forget("b")
    before.add("c", 3.0)
    after.restore(before.keys())
    assert [after.holds(key, 5.9) for key in "abc"] == [True, False, True]
    assert [after.holds(key, 6.1) for key in "abc"] == [False, False, True]


@pytest.mark.parametrize(("overflow", "said"), [("block", WAIT), ("reject", "closed")])
def test_a_queue_that_is_held_takes_nothing(overflow: str, said: str) -> None:
    """Who can wait is held back, who cannot is refused; opened again it goes on."""
    world = World(overflow=overflow)
    world.put("a")
    answer = manage(world.core, Command("hold", "q"), world.now)
    assert answer == {"closed": True, "left": 1}
    assert world.put("b") == said
    world.consumer(1)
    assert world.take() == ["a"]
    manage(world.core, Command("reopen", "q"), world.now)
    assert world.put("b") == ""
