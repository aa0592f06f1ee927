"""When a writer listens to the broker, and when it need not: decided without a broker."""

import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from workers.queues.client.door import Door
from workers.queues.client.outlet import FEW_BYTES, FEW_MESSAGES, Outlet
from workers.queues.errors import QueueFull
from workers.queues.frames import Hello, Kind, Rejected, frame

ONE = bytearray(frame(Kind.PUT, b"one"))


class Opened(Door):
    """A door with a connection that was made already; `broker` is its other end."""

    def __init__(self) -> None:
        super().__init__("", Hello("producer", "q"))
        self._socket, self.broker = socket.socketpair()
        self._socket.setblocking(False)


@pytest.fixture
def door() -> Iterator[Opened]:
    """Make a door, and close both ends of it."""
    made = Opened()
    yield made
    made.break_off()
    made.broker.close()


def calm(door: Opened) -> Outlet:
    """Make an outlet that has listened, and has nothing on its way."""
    outlet = Outlet("q", door)
    outlet.collect()
    assert outlet.calm
    return outlet


def until_not_calm(outlet: Outlet) -> int:
    """Send until it is time to listen; return how often that was."""
    sent = 0
    while outlet.calm:
        outlet.send(1, ONE)
        sent += 1
    return sent


def test_confirmations_are_heard_now_and_then(door: Opened) -> None:
    """A few puts go without a look at what the broker says; then all of it is heard at once."""
    outlet = calm(door)
    assert until_not_calm(outlet) == FEW_MESSAGES + 1
    door.broker.send(frame(Kind.CONFIRM, argument=outlet.sequence))
    outlet.collect()
    assert outlet.calm
    assert not outlet.unconfirmed


def test_a_broker_that_confirms_nothing_is_listened_to_at_each_put(door: Opened) -> None:
    """What is unconfirmed counts, not when it was listened to last."""
    outlet = calm(door)
    until_not_calm(outlet)
    outlet.collect()
    assert not outlet.calm


def test_a_large_put_is_not_few(door: Opened) -> None:
    """Bytes that are kept until they are confirmed count as well."""
    outlet = calm(door)
    outlet.send(1, bytearray(frame(Kind.PUT, bytes(FEW_BYTES))))
    assert not outlet.calm


def test_the_end_of_the_connection_ends_the_calm(door: Opened) -> None:
    """The put that finds the broker gone is the last before one that waits for the next broker."""
    outlet = calm(door)
    door.broker.close()
    outlet.send(1, ONE)
    assert not outlet.calm
    assert outlet.unconfirmed.messages == 1


def test_a_refusal_ends_the_calm_until_it_is_told(door: Opened) -> None:
    """What was refused is raised by the next put, whatever has listened in between."""
    outlet = calm(door)
    outlet.send(1, ONE)
    said: Any = msgspec.msgpack.encode(Rejected("full", "no room"))
    door.broker.send(frame(Kind.REJECTED, said, argument=outlet.sequence))
    assert outlet.wait_for(0, 0, None)
    assert not outlet.calm
    with pytest.raises(QueueFull):
        outlet.wait_for_room(0.0)
