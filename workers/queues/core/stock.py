"""What of a queue nobody has: what waits in order, what is scheduled, and when it expires."""

from collections.abc import Iterator, Sequence

from supervisor.definition import QueueDefinition
from workers.queues.core.agenda import Agenda
from workers.queues.core.books import Books
from workers.queues.core.chunk import Chunk
from workers.queues.core.fair import Fair
from workers.queues.core.levels import Levels
from workers.queues.core.limits import Rate
from workers.queues.core.retry import Budget
from workers.queues.core.waiting import Fifo, Order


class Stock:
    """The chunks of a queue that are not leased.

    ``order``: those that may be delivered. A chunk with a ``not_before`` is scheduled.
    """

    def __init__(self, definition: QueueDefinition, books: Books) -> None:
        self._books = books
        self.order = make_order(definition)
        self._delayed = Agenda()
        self._retries = Agenda()
        self._retries_from = 0.0  # the budget pays for the next one then
        self._expiries = Agenda()
        ratio = definition.retry_budget
        self._budget = None if ratio is None else Budget(ratio)
        self.timed = False  # whether anything was ever scheduled, or expires

    def add(self, chunk: Chunk) -> None:
        """Add what was put, behind all else."""
        if chunk.expires or chunk.not_before:
            self._add_timed(chunk)
        else:
            self.order.append(chunk)

    def give_back(self, chunks: Sequence[Chunk]) -> None:
        """Take back what was leased, before all else."""
        for chunk in chunks:
            chunk.holder = 0
            self.watch(chunk)
        self.order.give_back(chunks)

    def watch(self, chunk: Chunk) -> None:
        """Take care that a chunk expires. One that comes and goes is there once."""
        if chunk.expires and not chunk.watched:
            self.timed = chunk.watched = True
            self._expiries.add(chunk.expires, chunk)

    def wake(self, now: float) -> None:
        """Let through what was scheduled up to now, retries as far as the budget goes."""
        while (chunk := self._delayed.due(now)) is not None:
            if not chunk.void:
                self._woken(chunk, now)
                self.order.append(chunk)
        while self._retries_from <= now and (chunk := self._retries.due(now)) is not None:
            if chunk.void:
                continue
            wait = 0.0 if self._budget is None else self._budget.take(now)
            if wait:
                self._retries_from = now + wait
                self._retries.add(chunk.not_before, chunk)
                return
            self._woken(chunk, now)
            self.order.give_back((chunk,))

    def first_tries(self, count: int) -> None:
        """So many messages leave for the first time: they pay for retries."""
        if self._budget is not None:
            self._budget.first_tries(count)

    def expired(self, now: float) -> Chunk | None:
        """Return one that has expired and that nobody has; it has to be withdrawn."""
        while (chunk := self._expiries.due(now)) is not None:
            chunk.watched = False  # until it is given back, if somebody has it
            if not chunk.void and not chunk.holder:
                return chunk
        return None

    def expires_later(self, chunk: Chunk, at: float) -> None:
        """Look at a chunk that has expired once more then: it cannot be withdrawn yet."""
        chunk.watched = True
        self._expiries.add(at, chunk)

    def victim(self) -> Chunk | None:
        """Show the chunk to drop when there has to be room: who waits is older than who may not."""
        return self.order.victim() or self._retries.first() or self._delayed.first()

    def withdrawn(self, chunk: Chunk) -> None:
        """A chunk that nobody has was made void."""
        if not chunk.not_before:
            self.order.forget(chunk)

    def next_at(self) -> float:
        """When something scheduled or expiring is due; inf: never."""
        retry = max(self._retries.next_at(), self._retries_from)
        return min(self._delayed.next_at(), retry, self._expiries.next_at())

    def __iter__(self) -> Iterator[Chunk]:
        """Go through all chunks: those in order first."""
        yield from self.order
        yield from self._delayed
        yield from self._retries

    def _woken(self, chunk: Chunk, now: float) -> None:
        self._books.scheduled -= chunk.left
        chunk.not_before, chunk.ready_at = 0.0, now

    def _add_timed(self, chunk: Chunk) -> None:
        self.timed = True
        if chunk.not_before:
            self._books.scheduled += chunk.left
            agenda = self._delayed if chunk.attempt == 1 else self._retries
            agenda.add(chunk.not_before, chunk)
        else:
            self.order.append(chunk)
        self.watch(chunk)


def make_order(definition: QueueDefinition) -> Order:
    """Make the order that a queue is to have: the plain one, unless it says more."""

    def make_level() -> Order:
        if definition.fair_by is None:
            return Fifo()
        if definition.rate_per_key is None:
            return Fair()
        limit = definition.rate_per_key
        return Fair(lambda: Rate(*limit))

    if definition.priorities > 1:
        return Levels(definition.priorities, make_level)
    return make_level()
