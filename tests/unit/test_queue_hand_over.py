"""A lone message, handed over as it is read: over the connections that a broker has."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from supervisor.definition import QueueDefinition
from tests.queue_world import NOWHERE
from workers.queues import payload
from workers.queues.broker.connection import Connection
from workers.queues.broker.host import QueueHost
from workers.queues.core.queue import QueueCore
from workers.queues.frames import HEADER, PREFIX, SIZE, Hello, Kind

PRODUCER, CONSUMER = 1, 2


class Desk:
    """A queue, a producer that puts, and a consumer's connection with its other end."""

    def __init__(self, kept: ExitStack) -> None:
        core = QueueCore(QueueDefinition("q"), payload.split, payload.join, lambda: 1.0)
        self.connections: dict[int, Connection] = {}
        self.dirty: dict[int, Connection] = {}
        self.host = QueueHost(core, None, self.connections, self.dirty)
        self.theirs: dict[int, socket.socket] = {}
        for number in PRODUCER, CONSUMER:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            self.connections[number] = Connection(ours, 1, number)
            self.theirs[number] = kept.enter_context(theirs)
            kept.callback(self.connections[number].close)
        self.host.producer(self.connections[PRODUCER], Hello("producer", "q"))
        core.enter(CONSUMER, 0.0)
        core.window(CONSUMER, 10, 0.0)

    def put(self, sequence: int) -> None:
        """Put one message."""
        body = memoryview(SIZE.pack(0) + payload.encode([sequence]))
        self.host.from_producer(self.connections[PRODUCER], Kind.PUT, 1, sequence, body)

    def has(self) -> int:
        """Return the number of the chunk that has come to the consumer; 0: none has."""
        try:
            said = self.theirs[CONSUMER].recv(1000)
        except BlockingIOError:
            return 0
        _, kind, count, number = HEADER.unpack_from(said)
        assert (kind, count) == (Kind.DELIVER, 1)
        assert payload.split(said[HEADER.size + PREFIX.size :])
        return int(number)


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Make a desk."""
    with ExitStack() as kept:
        yield Desk(kept)


def test_a_lone_message_is_sent_before_its_producer_is_told(desk: Desk) -> None:
    """It is there as soon as it was read; the next one waits for the end of the pass."""
    desk.put(1)
    assert desk.has() == 1
    assert desk.host.core.leased == 1
    desk.put(2)
    assert desk.has() == 0
    desk.host.serve()
    desk.connections[CONSUMER].flush()
    assert desk.has() == 2


def test_a_consumer_that_is_gone_is_found_out_by_the_next_flush(desk: Desk) -> None:
    """And what was handed to it goes to another one."""
    desk.theirs[CONSUMER].close()
    desk.put(1)
    assert CONSUMER in desk.dirty
    with pytest.raises(BrokenPipeError):
        desk.dirty[CONSUMER].flush()
    desk.host.core.leave(CONSUMER, (NOWHERE,), 0.0)
    assert [chunk.attempt for chunk in desk.host.core.stock] == [1]
    assert desk.host.core.books.depth == 1
