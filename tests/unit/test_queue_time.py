"""Messages and time: expiry, delays, leases."""

import math

from tests.queue_world import START, World, messages
from workers.queues.core.leases import Cursor
from workers.queues.frames import Options

# --- expiry ---------------------------------------------------------------------------------------


def test_what_expires_is_a_dead_letter() -> None:
    """Each message of its chunk, when its time is over, whether somebody asks or not."""
    world = World()
    world.put("a", "b", ttl=5.0)
    world.put("c")
    world.wait(4.9)
    assert world.core.books.depth == 3
    world.wait(0.2)
    assert [(letter.message, letter.reason) for letter in world.dead] == [
        (b"\xa1a", "expired"), (b"\xa1b", "expired"),
    ]  # fmt: skip
    world.consumer(1)
    assert world.take() == ["c"]
    assert (world.core.counts.expired, world.core.counts.dead) == (2, 2)
    assert world.balanced()


def test_what_expires_may_be_dropped() -> None:
    """By the queue's policy; it is counted."""
    world = World(ttl=5.0, on_expired="drop")
    world.put("a", "b")
    world.wait(6.0)
    assert world.dead == []
    assert (world.core.counts.expired, world.core.counts.dropped) == (2, 2)
    assert (world.core.books.depth, world.core.books.bytes) == (0, 0)


def test_a_message_may_have_another_ttl_than_its_queue() -> None:
    """Its own goes first."""
    world = World(ttl=5.0)
    world.put("short", ttl=1.0)
    world.put("queue's")
    world.put("long", ttl=60.0)
    world.wait(2.0)
    assert [letter.message[1:] for letter in world.dead] == [b"short"]
    world.wait(4.0)
    world.consumer(1)
    assert world.take() == ["long"]


def test_what_is_worked_on_does_not_expire() -> None:
    """Its handler knows its deadline; if it comes back too late, it is dead."""
    world = World(ttl=5.0)
    world.put("a")
    world.put("b")
    world.consumer(1)
    first, second = world.deliver()
    world.wait(10.0)
    world.ack(1, first)
    assert world.dead == []
    world.leave(1, Cursor(second.id, 0, False))
    world.wait(0.0)
    world.consumer(2)
    assert world.deliver() == []
    assert [letter.reason for letter in world.dead] == ["expired"]


def test_what_was_cut_expires_too() -> None:
    """Every part has the deadline of the whole."""
    world = World()
    world.put("a", "b", "c", ttl=5.0)
    world.consumer(1, window=1)
    (chunk,) = world.deliver()
    assert messages(chunk) == ["a"]
    world.wait(5.1)
    assert [letter.message for letter in world.dead] == [b"\xa1b", b"\xa1c"]


def test_many_that_expire_behind_one_that_does_not_take_no_room() -> None:
    """What is gone is swept out, though the first in the queue stays."""
    world = World(capacity=10, on_expired="drop")
    world.put("stays")
    for number in range(1000):
        world.put(number, ttl=1.0)
        world.wait(1.1)
    assert len(world.core.stock.order) < 100  # type: ignore[arg-type]
    assert world.core.books.depth == 1


def test_many_that_are_handled_before_they_expire_are_forgotten() -> None:
    """The list of what expires does not grow with what has gone."""
    world = World(ttl=3600.0)
    world.consumer(1)
    for number in range(5000):
        world.put(number)
        world.take()
    assert len(world.core.stock._expiries._heap) < 200


def test_many_that_come_and_go_are_watched_once() -> None:
    """A consumer that takes all and leaves adds nothing to the list of what expires."""
    world = World(ttl=86_400.0)
    for number in range(100):
        world.put(number)
    for number in range(500):
        world.consumer(number)
        world.deliver()
        world.leave(number)
    assert len(world.core.stock._expiries._heap) == 100
    world.wait(86_401.0)
    assert world.core.counts.expired == 100


def test_what_is_given_back_after_its_time_and_delivered_again_expires_once_more() -> None:
    """It is watched from when it is given back, each time."""
    world = World(ttl=5.0, max_dead=1)
    world.put("a")
    world.put("b")
    for number in (1, 2):
        world.consumer(number, window=1)
        world.deliver()
    world.wait(10.0)
    world.leave(1)
    world.leave(2)
    world.core.expire(world.now)
    assert len(world.dead) == 1  # there is no room for more
    for letter in world.dead:
        world.core.burial.discard(letter.id)
    world.wait(1.0)
    assert len(world.dead) == 1
    assert world.balanced()


# --- delays ---------------------------------------------------------------------------------------


def test_a_delayed_message_waits_without_holding_others_up() -> None:
    """It is delivered when its time has come, in the order of times."""
    world = World()
    world.put("late", delay=10.0)
    world.put("soon", delay=5.0)
    world.put("now")
    world.consumer(1)
    assert world.take() == ["now"]
    assert world.core.next_deadline() == START + 5.0
    world.wait(7.0)
    assert world.take() == ["soon"]
    world.wait(3.0)
    assert world.take() == ["late"]
    assert world.core.next_deadline() > START + 60.0


def test_a_delayed_message_takes_its_place() -> None:
    """The bound counts it."""
    world = World(capacity=1)
    world.put("late", delay=10.0)
    assert world.put("now") == "wait"


def test_a_delayed_message_may_expire_before_its_time() -> None:
    """Then it is never delivered."""
    world = World()
    world.put("late", delay=10.0, ttl=5.0)
    world.wait(6.0)
    assert [letter.reason for letter in world.dead] == ["expired"]
    world.wait(10.0)
    world.consumer(1)
    assert world.take() == []
    assert world.balanced()


# --- leases ---------------------------------------------------------------------------------------


def test_a_consumer_that_makes_no_progress_loses_all_it_has() -> None:
    """What it is stuck in is blamed; what it had not begun comes back as it was, to another."""
    world = World(lease=60.0)
    world.put("stuck", "b")
    world.put("c")
    world.consumer(1)
    first, _ = world.deliver()
    cell = Cursor(first.id, 0, True)
    assert world.look(1, cell) == []
    world.wait(59.0)
    assert world.look(1, cell) == []
    world.wait(1.0)
    assert world.look(1, cell) == [(cell,)]
    world.consumer(2)
    assert world.delivered() == [(2, ["stuck"], 2), (2, ["b"], 1), (2, ["c"], 1)]
    assert world.core.counts.leases_over == 1


def test_what_a_late_consumer_says_is_refused_and_counted() -> None:
    """Its numbers are old: it settles nothing of what another one has now."""
    world = World(lease=60.0)
    world.put("a")
    world.consumer(1)
    (old,) = world.deliver()
    world.look(1, Cursor(old.id, 0, True))
    world.wait(60.0)
    world.look(1, Cursor(old.id, 0, True))
    assert world.deliver() == []  # the stuck one is sent nothing
    world.consumer(2)
    (new,) = world.deliver()
    assert new.id > old.id
    world.core.ack(1, old.id, 1, world.now)
    world.core.ack(1, new.id, 1, world.now)
    assert (world.core.books.depth, world.core.counts.late_acks) == (1, 2)
    world.ack(2, new)
    assert world.core.books.depth == 0


def test_a_consumer_that_is_heard_of_again_is_served_again() -> None:
    """Being late is not for ever."""
    world = World(lease=60.0)
    world.put("a")
    world.consumer(1)
    (old,) = world.deliver()
    world.look(1, Cursor(old.id, 0, True))
    world.wait(60.0)
    world.look(1, Cursor(old.id, 0, True))
    world.core.ack(1, old.id, 1, world.now)
    assert world.delivered() == [(1, ["a"], 2)]


def test_progress_extends_the_lease() -> None:
    """A cursor that moves is progress; so is the word of a handler that works long."""
    world = World(lease=60.0)
    world.put("a", "b")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.look(1, Cursor(chunk.id, 0, True))
    world.wait(50.0)
    assert world.look(1, Cursor(chunk.id, 1, True)) == []
    world.wait(50.0)
    assert world.look(1, Cursor(chunk.id, 1, True)) == []
    world.core.progress(1, chunk.id, world.now)
    world.wait(50.0)
    assert world.look(1, Cursor(chunk.id, 1, True)) == []
    world.wait(10.0)
    assert len(world.look(1, Cursor(chunk.id, 1, True))) == 1


def test_a_lane_that_is_stuck_loses_its_message_only() -> None:
    """The other lanes go on with what they have."""
    world = World(lease=60.0)
    world.put("stuck", "b", "c")
    world.consumer(1, window=3, lanes=2)
    stuck, b, c = world.deliver()
    world.look(1, Cursor(stuck.id, 0, True), Cursor(b.id, 0, True))
    world.wait(60.0)
    assert world.look(1, Cursor(stuck.id, 0, True), Cursor(c.id, 0, True)) == []
    world.ack(1, b)
    world.ack(1, c)
    world.ack(1, stuck)
    assert (world.core.counts.settled, world.core.counts.late_acks) == (2, 1)
    assert world.delivered() == [(1, ["stuck"], 2)]


def test_an_idle_consumer_is_not_looked_at() -> None:
    """Only those that have something; and without a lease nobody."""
    world = World(lease=60.0)
    world.consumer(1)
    world.now += 15.0
    assert world.core.looks_due(world.now) == []
    world.put("a")
    world.deliver()
    world.now += 15.0
    assert world.core.looks_due(world.now) == [1]
    free = World(lease=None)
    free.consumer(1)
    assert free.core.next_deadline() == math.inf


def test_a_message_that_is_stuck_everywhere_is_dead() -> None:
    """After its attempts, as any other that is not handled."""
    world = World(lease=60.0, max_attempts=1)
    world.put("a")
    world.consumer(1)
    (chunk,) = world.deliver()
    world.look(1, Cursor(chunk.id, 0, True))
    world.wait(60.0)
    world.look(1, Cursor(chunk.id, 0, True))
    assert [letter.reason for letter in world.dead] == ["stuck"]
    assert world.balanced()


def test_options_are_carried_with_every_attempt() -> None:
    """Headers and key stay with a message that comes back alone."""
    world = World()
    world.put("a", "b", key="k", headers={"traceparent": "00-1-2-01"})
    world.consumer(1)
    (chunk,) = world.deliver()
    world.crash(1, chunk, 0)
    world.consumer(2)
    for again in world.deliver():
        assert again.extra == Options(key="k", headers={"traceparent": "00-1-2-01"})
        assert again.options == chunk.options
