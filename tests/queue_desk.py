"""A durable queue whose store does as it is told: what is kept of it, and when."""

import socket
from collections.abc import Sequence
from typing import Any

from tests.queue_world import World
from workers.queues.broker.connection import Connection
from workers.queues.broker.keeping import Keeping
from workers.queues.core.chunk import Chunk
from workers.queues.core.journal import Added, Change
from workers.queues.frames import HEADER
from workers.queues.store.contract import Ahead, Damage, Recovered, State, StoreFailed, StoreFull


class Disk:
    """A store: writes into a list, unless it is to be full or broken."""

    def __init__(self) -> None:
        self.state = State.OPEN
        self.why = ""
        self.damage: Sequence[Damage] = ()
        self.written: list[list[Change]] = []
        self.holds = Recovered()

    def recover(self) -> Recovered:
        """Return what it was given."""
        return self.holds

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


class Steps:
    """A head start: does what it is told, in so many steps."""

    def __init__(self, chunks: Sequence[Chunk], steps: int) -> None:
        self.chunks, self.left = chunks, steps
        self.given_up = False
        self.broken = False

    def step(self) -> bool:
        """Write nothing."""
        if self.broken:
            raise StoreFailed("EIO")
        self.left -= 1
        return self.left > 0

    def give_up(self) -> None:
        """Note it."""
        assert not self.given_up
        self.given_up = True


class Desk:
    """A durable queue with its store and one producer; its definition as in a `World`."""

    def __init__(self, **definition: Any) -> None:
        self.world = World(durable="full", **definition)
        self.disk = Disk()
        self.opened: list[Recovered | None] = []  # with what it was opened, each time
        self.steps = 1  # of a head start
        self.ahead: list[Steps] = []
        self.keeping = Keeping(self.open, self.begin)
        self.keeping.restore(self.world.core, self.world.now)
        ours, self.theirs = socket.socketpair()
        self.producer = Connection(ours, 1, 1)
        self.producer.sent = self.keeping.clients.entered("me")
        self.dirty: dict[int, Connection] = {}

    def begin(self, chunks: Sequence[Chunk]) -> Steps:
        """Begin to write it anew."""
        self.ahead.append(Steps(chunks, self.steps))
        return self.ahead[-1]

    def open(self, anew: Recovered | None, ahead: Ahead | None) -> Disk:
        """Open the store, unless it is broken."""
        if self.disk.state is State.FAILED:
            raise StoreFailed("EIO")
        self.opened.append(anew)
        return self.disk

    def tend(self, seconds: float) -> bool:
        """Let it do what can wait, so much later."""
        self.world.now += seconds
        return self.keeping.tend(self.world.core, self.world.now)

    def put(self, sequence: int, value: object, **options: Any) -> None:
        """Put a message."""
        assert not self.world.put(value, **options)
        chunk = max(self.world.core.stock, key=lambda one: one.id)
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
