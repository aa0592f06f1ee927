"""A queue core with a clock of its own: what unit tests of queues are written against."""

from typing import Any

import msgspec

from supervisor.definition import QueueDefinition
from workers.queues import payload
from workers.queues.core.chunk import Chunk
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import Change
from workers.queues.core.leases import Cursor
from workers.queues.core.queue import QueueCore
from workers.queues.frames import Nack, Options, Reply
from workers.queues.store.contract import MemoryStore, Recovered

NOWHERE = Cursor(0, 0, False)
#: When worlds begin.
START = 1000.0

Delivered = list[tuple[int, list[Any], int]]


def decoded(message: bytes) -> Any:
    """Decode one message."""
    return msgspec.msgpack.decode(message)


def messages(chunk: Chunk) -> list[Any]:
    """Return what is left of a chunk, decoded."""
    found: list[Any] = msgspec.msgpack.decode(chunk.body)
    return found[chunk.done :]


class World:
    """A queue, and what is done to it.

    Args:
        definition: as in a `QueueDefinition`; the jitter of a world is always 1.

    """

    def __init__(self, **definition: Any) -> None:
        self.now = START
        settings = {"capacity": 100, "max_attempts": 3, **definition}
        self.definition = QueueDefinition("q", **settings)
        self.core = self._begin(0)
        self.store = MemoryStore()  # of a durable queue
        self.chunks: dict[int, Chunk] = {}  # by number: what was delivered last

    def _begin(self, last_chunk: int) -> QueueCore:
        return QueueCore(self.definition, payload.split, payload.join, lambda: 1.0, last_chunk)

    def keep(self) -> Recovered:
        """Write the journal of a durable queue; return what its store then has."""
        self.store.write(self.journal)
        self.journal.clear()
        return self.store.recover()

    def restart(self) -> None:
        """Its broker ends, and another one begins, with what is kept; totals go on."""
        kept, counts = self.keep(), self.core.counts
        self.core = self._begin(kept.last_chunk)
        self.core.counts = self.core.books.counts = counts
        self.core.restore(kept.chunks, self.now)
        self.core.burial.letters.restore(kept.letters, kept.last_letter)

    def put(self, *values: Any, caller: int = 0, **options: Any) -> str:
        """Put messages as one chunk; return "" or why they were not taken."""
        body = payload.encode(values)
        extra = Options(**options) if options else None
        encoded = b"" if extra is None else msgspec.msgpack.encode(extra)
        size = len(body) + len(encoded)
        verdict = self.core.intake.admits(len(values), size, extra, self.now)
        if not verdict:
            self.core.put(len(values), body, self.now, encoded, extra, caller)
        return verdict

    def hand_over(self, value: Any) -> tuple[int, Chunk] | None:
        """Put a lone message into the hands of who waits for it; None if it has to be `put`."""
        body = payload.encode([value])
        taker = self.core.delivery.taker(self.now)
        if not taker or self.core.intake.admits(1, len(body), None, self.now):
            return None
        chunk = self.core.hand_over(taker, body, self.now)
        self.chunks[chunk.id] = chunk
        return taker, chunk

    def consumer(self, number: int, window: int = 100, lanes: int = 1, burst: int = 0) -> int:
        """Add a consumer."""
        self.core.enter(number, self.now, lanes)
        self.core.window(number, window, self.now, burst)
        return number

    def deliver(self) -> list[Chunk]:
        """Deliver what can be; return the chunks."""
        found = [chunk for _, chunk in self.core.deliveries(self.now)]
        self.chunks.update((chunk.id, chunk) for chunk in found)
        return found

    def delivered(self) -> Delivered:
        """Deliver what can be; return (consumer, messages, attempt) of each chunk."""
        return [
            (number, messages(chunk), chunk.attempt)
            for number, chunk in self.core.deliveries(self.now)
        ]

    def take(self, consumer: int = 1) -> list[Any]:
        """Deliver and settle all that comes; return the messages in their order."""
        found: list[Any] = []
        while chunks := self.core.deliveries(self.now):
            for number, chunk in chunks:
                assert number == consumer
                found += messages(chunk)
                self.core.ack(number, chunk.id, chunk.count, self.now)
        return found

    def ack(self, consumer: int, chunk: Chunk, done: int | None = None) -> None:
        """Settle messages of a chunk; all, if not said otherwise."""
        self.core.ack(consumer, chunk.id, chunk.count if done is None else done, self.now)

    def nack(self, consumer: int, chunk: Chunk, index: int = 0, **nack: Any) -> None:
        """Refuse a message of a chunk."""
        self.core.nack(consumer, chunk.id, index, Nack(**nack), self.now)

    def reply(self, consumer: int, chunk: Chunk, value: Any) -> None:
        """Answer a call."""
        reply = Reply(True, msgspec.msgpack.encode(value))
        self.core.reply(consumer, chunk.id, reply, self.now)

    def leave(self, consumer: int, *cells: Cursor) -> None:
        """A consumer ends, with its cursor there."""
        self.core.leave(consumer, cells or (NOWHERE,), self.now)

    def crash(self, consumer: int, chunk: Chunk, index: int = 0) -> None:
        """A consumer ends while it works on a message of a chunk."""
        self.leave(consumer, Cursor(chunk.id, index, True))

    def wait(self, seconds: float) -> None:
        """Let time pass, doing what is due when it is."""
        until = self.now + seconds
        while (due := self.core.next_deadline()) <= until:
            self.now = max(self.now, due)
            self.core.expire(self.now)
            self.core.stock.wake(self.now)
            if not self.core.looks_due(self.now) and self.core.next_deadline() <= self.now:
                break  # what is due waits for a delivery
        self.now = until

    def look(self, consumer: int, *cells: Cursor) -> list[tuple[Cursor, ...]]:
        """Look at a consumer's cursor; return what it said at each fence."""
        fenced: list[tuple[Cursor, ...]] = []

        def fence() -> tuple[Cursor, ...]:
            fenced.append(cells)
            return cells

        self.core.looked_at(consumer, cells, self.now, fence)
        return fenced

    @property
    def dead(self) -> list[DeadLetter]:
        """The dead letters."""
        return self.core.burial.letters.page(0, 1 << 30)

    @property
    def journal(self) -> list[Change]:
        """The journal of a durable queue."""
        assert self.core.books.journal is not None
        return self.core.books.journal

    def balanced(self) -> bool:
        """Whether each message that was accepted is in exactly one place."""
        counts, books = self.core.counts, self.core.books
        gone = counts.settled + counts.dropped + counts.dead
        waiting = sum(chunk.left for chunk in self.core.stock)
        return counts.accepted == books.depth + gone and books.depth == waiting + self.core.leased
