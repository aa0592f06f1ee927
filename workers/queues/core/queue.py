"""The core of one bounded queue: pure; it decides, and the broker around it acts.

    put ──► [ stock ] ──deliveries──► leased to consumers ──ack, reply──► settled
               ▲  │                        │
               │  └─ expired ─┐            │ nack, leave, lease over
               └── returned ──┼────────────┤
                              └──► dead letters

Rules, in the order of their weight:

* A message that was put is waiting, scheduled, leased, settled, dropped (and counted) or dead, and
  never two of these at once.
* `capacity` and `max_bytes` hold for waiting, scheduled and leased messages together. What does
  not fit is left with its producer, refused, or takes the place of what is oldest (`overflow`).
* A consumer never has more messages than its window. A chunk that is larger is cut, but only for
  a consumer that has nothing else to do: cutting costs, the next acknowledgement does not. So is
  one that would keep it busy for long while others have nothing.
* A consumer's cursor says where it is. When it leaves, or its lease is over, what it has done is
  settled; what it was working on is the suspect, one message or a batch: it returns apart from the
  rest, one attempt older, or is dead after `max_attempts`. What was never begun returns as it was,
  unblamed.
* What returns goes to the front, in its old order. From a consumer that lives on it returns under
  a new number: what that one still says of it is late, counted and ignored.
* Nothing is delivered while the dead letters are full: the queue fills up, and its producers are
  held back, instead of letters being lost.

Times are seconds since 1970 by the broker's clock, which never goes back.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from supervisor.definition import QueueDefinition
from workers.queues.core.books import Books, Join, Split
from workers.queues.core.burial import CRASHED, Burial, Cause
from workers.queues.core.calls import Answer, Calls
from workers.queues.core.chunk import Chunk, decode_options
from workers.queues.core.delivery import Delivery
from workers.queues.core.intake import Intake
from workers.queues.core.leases import Cursor, Verdict, overdue, verdicts
from workers.queues.core.retry import Jitter
from workers.queues.core.returns import NIL, Returns
from workers.queues.core.shedding import Shedder
from workers.queues.core.stock import Stock
from workers.queues.frames import Nack, Options, Reply, Suspicion

#: Looks at a consumer's cursor in the time of one lease.
LOOKS = 4


class QueueCore:
    """One queue.

    Args:
        definition: what its author has said of it.
        split: opens a body, to single out messages.
        join: makes a body of messages.
        jitter: a random number from 0 to below 1.
        last_chunk: the highest number that a chunk ever had (of a durable queue).

    """

    def __init__(
        self,
        definition: QueueDefinition,
        split: Split,
        join: Join,
        jitter: Jitter,
        last_chunk: int = 0,
    ) -> None:
        self.definition = definition
        self.books = books = Books(
            definition.capacity,
            definition.max_bytes,
            split,
            join,
            bool(definition.durable),
            last_chunk,
        )
        self.counts = books.counts
        self.calls = Calls()
        self.burial = Burial(definition, books, self.calls)
        self.stock = Stock(definition, books)
        shedder = Shedder(definition.ttl) if definition.overflow == "shed" else None
        self.delivery = Delivery(definition, books, self.stock, self.burial, shedder)
        self.intake = Intake(
            definition, books, self.stock, self.burial, shedder, self.delivery.consumers
        )
        self._returns = Returns(definition, books, self.stock, self.burial, self.calls, jitter)
        self.deliveries = self.delivery.deliveries
        self._next_look = math.inf  # when leases have to be looked at
        limits = definition.rate, definition.rate_per_key, definition.dead_ttl
        self._timed = any(limit is not None for limit in limits)

    @property
    def leased(self) -> int:
        """Messages that consumers have."""
        return sum(one.held for one in self.delivery.consumers.values())

    def oldest_put(self) -> float | None:
        """When that was put which waits or is worked on longest, about; None if there is none."""
        oldest = min((chunk.put_at for chunk in self._leased()), default=math.inf)
        oldest = min(oldest, self.stock.order.oldest())
        return None if oldest == math.inf else oldest

    # --- in -----------------------------------------------------------------------------------

    def put(
        self,
        count: int,
        body: bytes,
        now: float,
        options: bytes = b"",
        extra: Options | None = None,
        caller: int = 0,
    ) -> Chunk:
        """Take in a chunk that `intake.admits`, and return it.

        Args:
            count: messages in it.
            body: the chunk.
            now: the time.
            options: of its messages, encoded; empty: the default ones.
            extra: the same, decoded.
            caller: the connection that waits for the result, of a call.

        """
        if extra is None or not extra.reply:
            caller = 0
        books = self.books
        chunk = books.take_in(count, body, options, extra, now, caller)
        books.counts.accepted += count
        ttl = self.definition.ttl
        if extra is not None:
            self.intake.remember(chunk, now)
            ttl = extra.ttl or ttl
            if extra.delay > 0:
                chunk.not_before = now + extra.delay
            self.calls.opened(chunk)
        if ttl is not None:
            chunk.expires = now + ttl
        if books.journal is not None:
            books.added(chunk)
        self.stock.add(chunk)
        return chunk

    def hand_over(self, consumer: int, body: bytes, now: float) -> Chunk:
        """Take in one message without options, for its `delivery.taker`, and return it leased."""
        chunk = self.books.take_in(1, body, now=now)
        self.counts.accepted += 1
        self.delivery.hand_over(consumer, chunk, now)
        return chunk

    def undo(self, chunk: Chunk) -> None:
        """Take back a put that nobody was told of."""
        self.intake.forget(chunk)
        gone = self.drop(chunk)
        self.counts.dropped -= gone
        self.counts.accepted -= gone

    def restore(self, chunks: Sequence[Chunk], now: float) -> None:
        """Take back what the store has kept, in order; from ``now`` on it waits to be delivered.

        The store knows of the tries that have failed, and not of deliveries: so consumers are told
        that each of these may have been made before. It is no try, though: what has not failed
        is no retry, and under no suspicion. What has failed may have ended a process, and that at
        work beside others: it is handled alone once, so that it takes none of them along.
        """
        for chunk in chunks:
            chunk.ready_at = now
            chunk.extra = decode_options(chunk.options)
            chunk.restored = True
            if chunk.attempt > 1:
                chunk.suspect = Suspicion.SUSPECT
            self.books.restore(chunk)
            self.stock.add(chunk)

    # --- what consumers say -------------------------------------------------------------------

    def enter(self, consumer: int, now: float, lanes: int = 1) -> None:
        """Add a consumer; it is sent nothing before it says its `window`."""
        self.delivery.enter(consumer, lanes)
        self._set_look(now)

    def window(self, consumer: int, messages: int, now: float, burst: int = 0) -> None:
        """A consumer may have so many messages at once; ``burst``: it handles in no time."""
        self.delivery.window(consumer, messages, burst, now)

    def ack(self, consumer: int, chunk_id: int, done: int, now: float) -> None:
        """The first ``done`` messages of a chunk are done."""
        one = self.delivery.consumers[consumer]
        chunk = one.leased.get(chunk_id)
        if chunk is None:
            self.counts.late_acks += chunk_id != one.settled
        else:
            self.delivery.advance(one, chunk, done, now)
            if chunk.caller and chunk.void:
                self.calls.answer(chunk, Reply(True, NIL))
        self.delivery.give_turn(consumer, one, now)

    def reply(self, consumer: int, chunk_id: int, reply: Reply, now: float) -> None:
        """The result of a call: settles its message."""
        chunk = self.delivery.consumers[consumer].leased.get(chunk_id)
        if chunk is not None and chunk.caller:
            self.calls.answer(chunk, reply)
        self.ack(consumer, chunk_id, 0 if chunk is None else chunk.count, now)

    def nack(
        self,
        consumer: int,
        chunk_id: int,
        index: int,
        nack: Nack,
        now: float,
        worker: str = "",
        process: int = 0,
    ) -> None:
        """Try the message at ``index`` again later, or bury it; those before it are done.

        ``worker``, ``process``: who the consumer is, for the dead letter.
        """
        one = self.delivery.consumers[consumer]
        chunk = one.leased.get(chunk_id)
        if chunk is None or not chunk.done <= index < chunk.count:
            self.counts.late_acks += 1
        else:
            self.delivery.advance(one, chunk, index, now)
            before = chunk.left
            self._returns.failed(chunk, index, nack, now, worker, process)
            self.delivery.gone(one, chunk, before - chunk.left)
        self.delivery.give_turn(consumer, one, now)

    def progress(self, consumer: int, chunk_id: int, now: float) -> None:
        """A consumer says that it works on."""
        one = self.delivery.consumers[consumer]
        one.works_on(chunk_id, now)
        self.delivery.give_turn(consumer, one, now)

    def leave(
        self, consumer: int, cells: Sequence[Cursor], now: float, cause: Cause = CRASHED
    ) -> list[Verdict]:
        """Take back what a consumer has; it is gone. ``cause``: says so in a dead letter.

        Returns:
            what was found about each chunk that it had.

        """
        found = verdicts(self.delivery.leave(consumer), cells)
        for verdict in found:
            verdict.chunk.ready_at = now
        self._returns.take_back(found, cause, now)
        return found

    def leased_chunk(self, consumer: int, chunk_id: int) -> Chunk | None:
        """Return a chunk that a consumer has; None: it has none of that number."""
        return self.delivery.consumers[consumer].leased.get(chunk_id)

    def out_of_memory(self, worker: str, now: float) -> None:
        """Learn that a worker which has left was killed by the kernel for want of memory."""
        self._returns.out_of_memory(worker, chain(self.stock, self._leased()), now)

    # --- time ---------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """When `expire`, `looks_due` or `deliveries` has something to do; inf: never."""
        if not self._timed and not self.stock.timed:
            return self._next_look
        due = min(self._next_look, self.delivery.next_at(), self.stock.next_at())
        letters = self.burial.letters.next_at()
        return due if letters is None else min(due, letters)

    def expire(self, now: float) -> None:
        """Do what is due now."""
        self.burial.sweep(now)
        while (chunk := self.stock.expired(now)) is not None:
            if not self.burial.may_expire(chunk):
                self.stock.expires_later(chunk, now + 1.0)
                return
            self.burial.expire(chunk, now)
            self.stock.withdrawn(chunk)

    def looks_due(self, now: float) -> list[int]:
        """Return the consumers whose cursors have to be `looked_at` now."""
        if now < self._next_look:
            return []
        self._next_look = math.inf
        self._set_look(now)
        return [number for number, one in self.delivery.consumers.items() if one.leased]

    def looked_at(
        self,
        consumer: int,
        cells: Sequence[Cursor],
        now: float,
        fence: Callable[[], Sequence[Cursor]],
        worker: str = "",
        process: int = 0,
    ) -> None:
        """Take back what a consumer makes no progress with.

        Args:
            consumer: its number.
            cells: what its cursor says.
            now: the time.
            fence: tells it that all it has is taken back, and returns what its cursor says then.
            worker: who it is, for dead letters.
            process: the same.

        """
        lease = self.definition.lease
        one = self.delivery.consumers[consumer]
        over = set() if lease is None else overdue(one, cells, now, lease)
        if not over:
            return
        if len(over) == len(one.leased):
            cells = fence()
            self.delivery.withdraw_turn(consumer)
        self.counts.leases_over += 1
        why = f"its consumer was silent for {lease} s while handling it"
        cause = Cause("stuck", why, worker=worker, process=process)
        chosen = [found for found in verdicts(one, cells) if found.chunk.id in over]
        for verdict in chosen:
            del one.leased[verdict.chunk.id]
            one.held -= verdict.chunk.left
            verdict.chunk.ready_at = now
        self._returns.take_back(chosen, cause, now, renew=True)

    # --- calls --------------------------------------------------------------------------------

    def cancel(self, caller: int, correlation: int) -> None:
        """A caller has given up a call: its message is dropped, unless somebody has it."""
        chunk = self.calls.give_up(caller, correlation)
        if chunk is not None:
            self.drop(chunk)

    def caller_left(self, caller: int) -> None:
        """A caller is gone, and with it its calls."""
        for chunk in self.calls.leave(caller):
            self.drop(chunk)

    def answers(self) -> list[Answer]:
        """Return the results of calls since the last time."""
        return self.calls.take() if self.calls.answers else []

    def drop(self, chunk: Chunk) -> int:
        """Drop a chunk, unless it is leased; return how many messages that were."""
        if chunk.holder or chunk.void:
            return 0
        gone = self.burial.drop(chunk, "dropped")
        self.stock.withdrawn(chunk)
        return gone

    def _leased(self) -> Iterator[Chunk]:
        """Go through what consumers have."""
        for one in self.delivery.consumers.values():
            yield from one.leased.values()

    def _set_look(self, now: float) -> None:
        lease = self.definition.lease
        if lease is not None and self.delivery.consumers:
            self._next_look = min(self._next_look, now + lease / LOOKS)
