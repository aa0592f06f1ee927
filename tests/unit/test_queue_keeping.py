"""What is kept of a durable queue, and when: against a store that does as it is told."""

import math
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.queue_world import START, World
from workers.queues.broker.connection import Connection
from workers.queues.broker.keeping import PATIENCE, Keeping
from workers.queues.core.clients import Sent
from workers.queues.core.journal import Added, Advanced, Change, Remembered, Sequenced
from workers.queues.frames import HEADER, Kind
from workers.queues.store.contract import Damage, Recovered, State, StoreFailed, StoreFull


class Disk:
    """A store: writes into a list, unless it is to be full or broken."""

    def __init__(self) -> None:
        self.state = State.OPEN
        self.why = ""
        self.damage: Sequence[Damage] = ()
        self.written: list[list[Change]] = []

    def recover(self) -> Recovered:
        """There is nothing."""
        return Recovered()

    def write(self, changes: Sequence[Change]) -> None:
        """Keep them; full: only what makes the queue smaller."""
        if self.state is State.FAILED:
            raise StoreFailed("EIO")
        if self.state is State.FULL and any(isinstance(one, Added) for one in changes):
            raise StoreFull("ENOSPC")
        self.written.append(list(changes))

    def tend(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


class Desk:
    """A durable queue with its store and one producer."""

    def __init__(self) -> None:
        self.world = World(durable="full")
        self.disk = Disk()
        self.keeping = Keeping(self.disk)
        ours, self.theirs = socket.socketpair()
        self.producer = Connection(ours, 1, 1)
        self.producer.sent = Sent("me")
        self.dirty: dict[int, Connection] = {}

    def put(self, sequence: int, value: object, **options: Any) -> None:
        """Put a message."""
        assert not self.world.put(value, **options)
        *_, chunk = self.world.core.stock
        assert self.producer.sent is not None
        self.producer.sent.last = sequence
        self.keeping.put(self.producer, sequence, chunk)

    def commit(self) -> None:
        """End a pass."""
        self.keeping.commit(self.world.core, self.dirty, self.world.now)

    def said(self) -> list[tuple[int, int]]:
        """Return (kind, argument) of what the producer was told."""
        self.producer.flush()
        self.theirs.setblocking(False)
        try:
            data = self.theirs.recv(1 << 16)
        except BlockingIOError:
            return []
        found = []
        while data:
            size, kind, _, argument = HEADER.unpack_from(data)
            found.append((kind, argument))
            data = data[HEADER.size + size :]
        return found


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Make a desk."""
    made = Desk()
    yield made
    made.producer.close()
    made.theirs.close()


def test_puts_of_a_pass_are_one_write_and_confirmed_after_it(desk: Desk) -> None:
    """With the last sequence of their client in it."""
    desk.put(1, "a")
    desk.put(2, "b")
    assert desk.said() == []
    desk.commit()
    (group,) = desk.disk.written
    assert [type(change) for change in group] == [Added, Added, Sequenced]
    assert group[-1] == Sequenced("me", 2)
    assert desk.said() == [(Kind.CONFIRM, 2)]


def test_acknowledgements_wait_for_company_but_not_for_long(desk: Desk) -> None:
    """Alone they are written after PATIENCE; with a put, at once."""
    desk.put(1, "a")
    desk.commit()
    desk.world.consumer(1)
    assert desk.world.take() == ["a"]
    desk.commit()
    assert len(desk.disk.written) == 1
    assert desk.keeping.due == desk.world.now + PATIENCE
    desk.world.now += PATIENCE
    desk.commit()
    assert desk.disk.written[1:] == [[Advanced(1, 1)]]
    assert desk.keeping.due == math.inf


def test_a_full_store_refuses_puts_and_takes_acknowledgements(desk: Desk) -> None:
    """What could not be kept is not in the queue, and nothing waits for the time then."""
    desk.put(1, "a")
    desk.commit()
    desk.said()
    desk.disk.state = State.FULL
    desk.world.consumer(1)
    desk.world.take()
    desk.put(2, "b")
    desk.commit()
    assert desk.said() == [(Kind.REJECTED, 2)]
    assert desk.keeping.refuses
    assert desk.world.core.books.depth == 0
    assert desk.world.balanced()
    desk.commit()
    assert desk.disk.written[-1][0] == Advanced(1, 1)
    desk.commit()
    assert desk.keeping.due == math.inf
    desk.disk.state = State.OPEN
    desk.keeping.tend("q")
    assert not desk.keeping.refuses


def test_a_refused_put_alone_leaves_nothing_to_do(desk: Desk) -> None:
    """The broker does not spin over an empty journal."""
    desk.disk.state = State.FULL
    desk.put(1, "a")
    desk.commit()
    desk.commit()
    assert desk.keeping.due == math.inf


def test_a_key_for_dedupe_is_kept_with_its_put_or_forgotten_with_it(desk: Desk) -> None:
    """A put that could not be kept may be tried again: it is no duplicate, here and on disk."""
    desk.put(1, "a", dedupe="one")
    desk.commit()
    remembered = [one for one in desk.disk.written[0] if isinstance(one, Remembered)]
    assert [(one.key, one.until) for one in remembered] == [("one", START + 300.0)]
    desk.disk.state = State.FULL
    desk.put(2, "b", dedupe="two")
    desk.commit()
    assert desk.said()[0] == (Kind.REJECTED, 2)
    assert desk.world.put("a", dedupe="one") == "duplicate"
    desk.disk.state = State.OPEN
    desk.put(3, "b", dedupe="two")
    desk.commit()
    assert [
        len([c for c in group if isinstance(c, Remembered)]) for group in desk.disk.written
    ] == [1, 1]


def test_a_store_that_failed_is_written_to_no_more(desk: Desk) -> None:
    """Puts are refused from then on; what is in memory goes on."""
    desk.put(1, "a")
    desk.commit()
    desk.said()
    desk.disk.state = State.FAILED
    desk.put(2, "b")
    desk.commit()
    assert desk.said() == [(Kind.REJECTED, 2)]
    assert desk.keeping.trouble.startswith("failed")
    desk.world.consumer(1)
    assert desk.world.take() == ["a"]
    desk.commit()
    desk.world.now += PATIENCE
    desk.commit()
    assert desk.world.journal == []
    assert desk.keeping.due == math.inf
