"""The core of one bounded queue: pure; it decides, and the broker around it acts.

    put ──► [ waiting chunks ] ──deliveries──► leased to consumers ──ack──► settled
                    ▲                                │
                    └─────── front: returned ────────┤ leave
                                                     └──► dead letters

Rules, in the order of their weight:

* A message that was put is waiting, leased, settled or dead, and never two of these at once.
* `capacity` and `max_bytes` hold for waiting and leased messages together. The broker puts only
  what `fits`, and leaves the rest with its producer.
* A consumer never has more messages than it granted credit for; what it settles is credit again.
  A chunk that is larger is cut, but only for a consumer that has nothing else to do: cutting
  costs, waiting for the next acknowledgement does not.
* A consumer works in the order of its deliveries, and its cursor says where it is. When it leaves,
  what lies before the cursor is settled. If it was busy, the one message at the cursor is the
  suspect: it returns alone, one attempt older, or is dead after `max_attempts`. What lies behind
  was never begun, and returns as it was, unblamed.
* What returns goes to the front, in its old order.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: Dead letters that are kept; the oldest is dropped, and counted, when one more comes.
MAX_DEAD_LETTERS = 1_000

#: Opens a body into its messages, still encoded; raises ValueError if it cannot be opened.
Split = Callable[[bytes], Sequence[bytes]]
#: Makes a body of encoded messages.
Join = Callable[[Sequence[bytes]], bytes]


@dataclass(slots=True)
class Chunk:
    """Messages that travel together. ``done``: so many of them, from the first, are settled."""

    id: int
    count: int
    body: bytes
    attempt: int = 1
    done: int = 0

    @property
    def left(self) -> int:
        """Messages that are not settled."""
        return self.count - self.done


@dataclass(slots=True)
class Consumer:
    """What a consumer may be sent (``credit``, in messages), and has, in order of delivery."""

    credit: int = 0
    leased: dict[int, Chunk] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a consumer is: ``done`` messages of ``chunk``; ``busy``: it works on the next one."""

    chunk: int
    done: int
    busy: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that is not tried again; ``attempts``: its deliveries.

    ``message``: still encoded; the body of a whole chunk if that could not be opened.
    """

    message: bytes
    reason: str
    attempts: int


@dataclass(slots=True)
class Counts:
    """Messages, since the broker started."""

    accepted: int = 0
    settled: int = 0
    redelivered: int = 0  # returned with one attempt more
    dead: int = 0
    dead_dropped: int = 0


class QueueCore:
    """One queue.

    Args:
        capacity: messages it holds at most, leased ones included.
        max_bytes: bytes of chunks it holds at most, leased ones included.
        max_attempts: deliveries of one message before it is dead.
        split: opens a body, to single out the message that ended its consumer.
        join: makes a body of what is left.

    """

    def __init__(
        self, capacity: int, max_bytes: int, max_attempts: int, split: Split, join: Join
    ) -> None:
        self.capacity, self.max_bytes, self.max_attempts = capacity, max_bytes, max_attempts
        self._split, self._join = split, join
        self.depth = self.bytes = 0  # waiting and leased
        self.counts = Counts()
        self.dead: deque[DeadLetter] = deque()
        self._waiting: deque[Chunk] = deque()
        self._consumers: dict[int, Consumer] = {}
        self._hungry: OrderedDict[int, None] = OrderedDict()  # have credit; first: next in turn
        self._last_chunk = 0

    @property
    def leased(self) -> int:
        """Messages that consumers have."""
        return sum(c.left for one in self._consumers.values() for c in one.leased.values())

    @property
    def consumers(self) -> int:
        """Consumers there are."""
        return len(self._consumers)

    # --- in -----------------------------------------------------------------------------------

    def fits(self, count: int, size: int) -> bool:
        """Whether a chunk of so many messages and bytes can be put now."""
        return self.depth + count <= self.capacity and self.bytes + size <= self.max_bytes

    def put(self, count: int, body: bytes) -> None:
        """Take in a chunk, which fits."""
        assert self.fits(count, len(body))
        self._waiting.append(self._hold(self._chunk(count, body, 1)))
        self.counts.accepted += count

    # --- out ----------------------------------------------------------------------------------

    def enter(self, consumer: int) -> None:
        """Add a consumer; it is sent nothing before it grants credit."""
        self._consumers[consumer] = Consumer()

    def grant(self, consumer: int, credit: int) -> None:
        """Let a consumer be sent so many messages more."""
        one = self._consumers[consumer]
        one.credit += credit
        if one.credit > 0:
            self._hungry[consumer] = None

    def deliveries(self) -> list[tuple[int, Chunk]]:
        """Lease what can be leased, to each consumer with credit in turn."""
        found: list[tuple[int, Chunk]] = []
        while self._waiting and self._hungry:
            consumer, _ = self._hungry.popitem(last=False)
            one = self._consumers[consumer]
            chunk = self._next_for(one)
            if chunk is None:  # its next acknowledgement makes it hungry again
                continue
            one.leased[chunk.id] = chunk
            one.credit -= chunk.left
            found.append((consumer, chunk))
            if one.credit > 0:
                self._hungry[consumer] = None
        return found

    def ack(self, consumer: int, chunk_id: int, done: int) -> None:
        """The first ``done`` messages of a chunk are done. Old news is ignored."""
        one = self._consumers[consumer]
        chunk = one.leased.get(chunk_id)
        if chunk is None:
            return
        before = chunk.left
        self._settle(chunk, done)
        if not chunk.left:
            del one.leased[chunk_id]
        self.grant(consumer, before - chunk.left)

    def reject(self, consumer: int, chunk_id: int, index: int, reason: str) -> None:
        """Bury the message at ``index``; those before it are done, the consumer goes on behind."""
        chunk = self._consumers[consumer].leased.get(chunk_id)
        if chunk is None or not chunk.done <= index < chunk.count:
            return
        self.ack(consumer, chunk_id, index)
        messages = self._opened(chunk)
        self._bury(messages[index] if messages else chunk.body, reason, chunk.attempt)
        self.counts.settled -= 1  # counted as dead instead
        self.ack(consumer, chunk_id, index + 1)

    def leave(self, consumer: int, cursor: Cursor) -> None:
        """Take back what a consumer has; it is gone."""
        one = self._consumers.pop(consumer)
        self._hungry.pop(consumer, None)
        # The chunk of the cursor may be acknowledged already: then nothing behind it was begun.
        before = cursor.chunk in one.leased
        back: list[Chunk] = []
        for chunk in one.leased.values():
            at_cursor = chunk.id == cursor.chunk
            if at_cursor:
                before = False
                self._settle(chunk, cursor.done)
            elif before:
                self._settle(chunk, chunk.count)
            if chunk.left:
                back += self._reopened(chunk, at_cursor and cursor.busy)
        self._waiting.extendleft(reversed(back))

    # --- chunks -------------------------------------------------------------------------------

    def _next_for(self, one: Consumer) -> Chunk | None:
        """Take the next chunk for a consumer, cut to its credit; None to let it wait."""
        while self._waiting:
            chunk = self._waiting[0]
            if chunk.left > one.credit and one.leased:
                return None
            self._waiting.popleft()
            if chunk.left <= one.credit:
                return chunk
            parts = self._cut(chunk, one.credit)
            self._waiting.extendleft(reversed(parts[1:]))
            if parts:
                return parts[0]
        return None

    def _reopened(self, chunk: Chunk, suspect: bool) -> list[Chunk]:
        """Return what comes back of a chunk; a suspect, its next message, comes back alone."""
        if not suspect:
            return [chunk]
        back = self._cut(chunk, 1)
        if not back:
            return []
        alone = back[0]
        if alone.attempt >= self.max_attempts:
            message = self._opened(alone)[0]
            self._bury(message, "its consumer ended while handling it", alone.attempt)
            self._drop(alone)
            return back[1:]
        alone.attempt += 1
        self.counts.redelivered += 1
        return back

    def _cut(self, chunk: Chunk, count: int) -> list[Chunk]:
        """Cut a chunk that nobody has behind ``count`` messages: one part or two.

        No part if it is not what its producer said: it cannot be cut, and is buried whole, once.
        """
        messages = self._opened(chunk)
        self._drop(chunk)
        if not messages:
            self._bury(chunk.body, "not the messages that its producer said", chunk.attempt)
            self.counts.dead += chunk.left - 1
            return []
        parts = messages[chunk.done : chunk.done + count], messages[chunk.done + count :]
        return [self._part(part, chunk.attempt) for part in parts if part]

    def _opened(self, chunk: Chunk) -> Sequence[bytes]:
        """Open a chunk; nothing if it is not what its producer said it is."""
        try:
            messages = self._split(chunk.body)
        except (ValueError, RecursionError):  # the latter: nested thousands deep
            return ()
        return messages if len(messages) == chunk.count else ()

    def _part(self, messages: Sequence[bytes], attempt: int) -> Chunk:
        return self._hold(self._chunk(len(messages), self._join(messages), attempt))

    def _chunk(self, count: int, body: bytes, attempt: int) -> Chunk:
        self._last_chunk += 1
        return Chunk(self._last_chunk, count, body, attempt)

    def _hold(self, chunk: Chunk) -> Chunk:
        self.depth += chunk.left
        self.bytes += len(chunk.body)
        return chunk

    def _drop(self, chunk: Chunk) -> None:
        self.depth -= chunk.left
        self.bytes -= len(chunk.body)

    def _settle(self, chunk: Chunk, done: int) -> None:
        """Count messages up to ``done`` as done; give the room back when all are."""
        done = min(max(done, chunk.done), chunk.count)
        self.depth -= done - chunk.done
        self.counts.settled += done - chunk.done
        if done == chunk.count and chunk.left:
            self.bytes -= len(chunk.body)
        chunk.done = done

    def _bury(self, message: bytes, reason: str, attempts: int) -> None:
        self.counts.dead += 1
        self.dead.append(DeadLetter(message, reason, attempts))
        if len(self.dead) > MAX_DEAD_LETTERS:
            self.dead.popleft()
            self.counts.dead_dropped += 1
