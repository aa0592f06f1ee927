"""The books of a queue: the room that is taken, the numbers of chunks, totals, and the journal."""

from collections.abc import Callable, Sequence

from workers.queues.core.chunk import Chunk
from workers.queues.core.counts import Counts
from workers.queues.core.journal import Added, Advanced, Change, Removed
from workers.queues.frames import Options

#: Opens a body into its messages, still encoded; raises ValueError if it cannot be opened.
Split = Callable[[bytes], Sequence[bytes]]
#: Makes a body of encoded messages.
Join = Callable[[Sequence[bytes]], bytes]


class Books:
    """Every change to what a queue holds goes through here.

    Args:
        capacity: messages it holds at most, leased ones included.
        max_bytes: bytes of chunks it holds at most, leased ones included.
        split: opens a body.
        join: makes a body.
        durable: whether to keep a journal.
        last_chunk: the highest number that a chunk ever had.

    """

    def __init__(
        self,
        capacity: int,
        max_bytes: int,
        split: Split,
        join: Join,
        durable: bool = False,
        last_chunk: int = 0,
    ) -> None:
        self.capacity, self.max_bytes = capacity, max_bytes
        self._split, self._join = split, join
        self.depth = self.bytes = 0  # waiting, scheduled and leased
        self.scheduled = 0  # messages of these
        self.counts = Counts()
        self.journal: list[Change] | None = [] if durable else None
        self.last_chunk = last_chunk

    @property
    def ready(self) -> int:
        """Messages that wait for nothing but consumers, or that these have."""
        return self.depth - self.scheduled

    def fits(self, count: int, size: int) -> bool:
        """Whether a chunk of so many messages and bytes can be taken in now."""
        return self.depth + count <= self.capacity and self.bytes + size <= self.max_bytes

    def note(self, change: Change) -> None:
        """Write a change down, if there is a journal."""
        if self.journal is not None:
            self.journal.append(change)

    # --- chunks come, and go ------------------------------------------------------------------

    def take_in(
        self,
        count: int,
        body: bytes,
        options: bytes = b"",
        extra: Options | None = None,
        now: float = 0.0,
        caller: int = 0,
    ) -> Chunk:
        """Make a chunk of what was put."""
        first = self.last_chunk + 1
        self.last_chunk = number = self.last_chunk + count  # one for each message
        chunk = Chunk(number, count, body, options, 1, 0, now, 0.0, 0.0, first, caller, 0, extra)
        self.depth += count
        self.bytes += len(body) + len(options)
        return chunk

    def added(self, chunk: Chunk) -> None:
        """Write down that a chunk is there, as it now is. A call is nobody's but its caller's."""
        if self.journal is not None and not chunk.caller:
            self.journal.append(Added(chunk))

    def restore(self, chunk: Chunk) -> None:
        """Count a chunk that the store has kept."""
        self.depth += chunk.left
        self.bytes += chunk.size

    def advance(self, chunk: Chunk, done: int) -> int:
        """The first ``done`` messages are gone; return how many of them were not yet."""
        gone = min(done, chunk.count) - chunk.done
        if gone <= 0:
            return 0
        chunk.done += gone
        self.depth -= gone
        if chunk.done == chunk.count:
            self.bytes -= len(chunk.body) + len(chunk.options)
        if self.journal is not None and not chunk.caller:
            self.journal.append(Advanced(chunk.id, chunk.done))
        return gone

    def remove(self, chunk: Chunk) -> int:
        """Make a chunk void; return how many messages were left in it."""
        gone = chunk.left
        self.depth -= gone
        if chunk.not_before:
            self.scheduled -= gone
        if gone:
            self.bytes -= chunk.size
            if self.journal is not None and not chunk.caller:
                self.journal.append(Removed(chunk.id))
        chunk.done = chunk.count
        return gone

    def shorten(self, chunk: Chunk, messages: int) -> int:
        """The next messages of a chunk that nobody has are gone; return how many."""
        if chunk.not_before:
            self.scheduled -= messages
        return self.advance(chunk, chunk.done + messages)

    # --- chunks change ------------------------------------------------------------------------

    def opened(self, chunk: Chunk) -> Sequence[bytes]:
        """Open a chunk; nothing if it is not what its producer said it is."""
        try:
            messages = self._split(chunk.body)
        except (ValueError, RecursionError):  # the latter: nested thousands deep
            return ()
        return messages if len(messages) == chunk.count else ()

    def body(self, messages: Sequence[bytes]) -> bytes:
        """Make a body of encoded messages."""
        return self._join(messages)

    def again(self, chunk: Chunk, attempt: int) -> Chunk:
        """Give what is left of a chunk a new number: what is said of the old one is late."""
        fresh = self._copy(chunk, chunk.count, chunk.body, attempt)
        fresh.done = chunk.done
        self.remove(chunk)
        self.depth += fresh.left
        self.bytes += fresh.size
        self.added(fresh)
        return fresh

    def part(self, chunk: Chunk, messages: Sequence[bytes], index: int, attempt: int) -> Chunk:
        """Make a chunk of messages of another from ``index``, which is then removed or advanced."""
        fresh = self._copy(chunk, len(messages), self._join(messages), attempt)
        fresh.origin += index
        self.depth += fresh.count
        self.bytes += fresh.size
        return fresh

    def cut(self, chunk: Chunk, count: int) -> list[Chunk]:
        """Cut a chunk behind its next ``count`` messages; no parts if it cannot be opened."""
        messages = self.opened(chunk)
        if not messages:
            return []
        middle = chunk.done + count
        halves = messages[chunk.done : middle], messages[middle:]
        return self._parts(chunk, [half for half in halves if half])

    def singles(self, chunk: Chunk) -> list[Chunk]:
        """Cut a chunk into chunks of one message; no parts if it cannot be opened."""
        messages = self.opened(chunk)
        return self._parts(chunk, [[message] for message in messages[chunk.done :]])

    def _parts(self, chunk: Chunk, pieces: Sequence[Sequence[bytes]]) -> list[Chunk]:
        if not pieces:
            return []
        parts, index = list[Chunk](), chunk.done
        for piece in pieces:
            parts.append(self.part(chunk, piece, index, chunk.attempt))
            index += len(piece)
        self.remove(chunk)
        for part in parts:
            self.added(part)
        return parts

    def _copy(self, chunk: Chunk, count: int, body: bytes, attempt: int) -> Chunk:
        self.last_chunk = number = self.last_chunk + 1
        return Chunk(
            number,
            count,
            body,
            chunk.options,
            attempt,
            0,
            chunk.put_at,
            chunk.expires,
            chunk.not_before,
            chunk.origin,
            chunk.caller,
            0,
            chunk.extra,
            chunk.memory_ends,
            chunk.suspect,
            chunk.restored,
            chunk.ready_at,
        )
