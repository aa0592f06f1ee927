"""What becomes of messages that are not handled: tried again, buried, or answered as failed."""

from collections.abc import Sequence

from supervisor.definition import QueueDefinition
from workers.queues.core.books import Books
from workers.queues.core.calls import Calls
from workers.queues.core.chunk import Chunk
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.dead_letters import DeadLetters
from workers.queues.core.journal import Buried, Discarded
from workers.queues.frames import Reply

#: Characters of a reason, an error and a traceback that are kept.
MAX_REASON, MAX_ERROR, MAX_TRACEBACK = 100, 1_000, 10_000


class Cause:
    """Why a message is dead."""

    __slots__ = ("error", "process", "reason", "traceback", "worker")

    def __init__(
        self,
        reason: str,
        error: str = "",
        traceback: str = "",
        worker: str = "",
        process: int = 0,
    ) -> None:
        self.worker = worker  # who has had it last; empty: nobody who has said a name
        self.process = process  # of this one
        self.reason = reason[:MAX_REASON]
        self.error = error[:MAX_ERROR]
        self.traceback = traceback[-MAX_TRACEBACK:]


MALFORMED = Cause("malformed", "not the messages that its producer said")
CRASHED = Cause("crashed", "its consumer ended while handling it")
#: The reason, when the consumer was ended for having more than its hard limit of memory.
MEMORY = "memory_hard"
#: The reason, when the kernel killed the consumer for want of memory.
OOM = "oom"
EXPIRED = Cause("expired", "nobody took it in time")


class Burial:
    """Buries messages.

    A message of a call is nobody's but its caller's, who is told; it is never a dead letter.
    """

    def __init__(self, definition: QueueDefinition, books: Books, calls: Calls) -> None:
        self._books, self._calls = books, calls
        self.letters = DeadLetters(definition.max_dead, definition.max_bytes, definition.dead_ttl)
        self._drops_expired = definition.on_expired == "drop"

    def one(self, chunk: Chunk, message: bytes, index: int, cause: Cause, now: float) -> None:
        """Bury the message at ``index``, which has to be taken off the chunk beside this."""
        self._bury(chunk, message, index, cause, now)

    def rest(self, chunk: Chunk, cause: Cause, now: float) -> None:
        """Bury what is left of a chunk, message by message, and remove it."""
        messages: Sequence[bytes] = self._books.opened(chunk)
        if not messages:
            self.unopened(chunk, now)
            return
        for index, message in enumerate(messages[chunk.done :], chunk.done):
            self._bury(chunk, message, index, cause, now)
        self._books.remove(chunk)

    def unopened(self, chunk: Chunk, now: float) -> None:
        """Bury a chunk that cannot be opened: one letter with its body, and remove it."""
        self._bury(chunk, chunk.body, 0, MALFORMED, now, whole=False)
        self._books.counts.dead += self._books.remove(chunk) - 1

    def expire(self, chunk: Chunk, now: float) -> None:
        """Bury or drop, as the queue's policy says, what nobody took in time."""
        self._books.counts.expired += chunk.left
        if chunk.caller or self._drops_expired:
            self.drop(chunk, "expired")
        else:
            self.rest(chunk, EXPIRED, now)

    def drop(self, chunk: Chunk, why: str) -> int:
        """Drop what is left of a chunk; tell its caller. Return how many messages that were."""
        gone = self._books.remove(chunk)
        self._books.counts.dropped += gone
        if chunk.caller:
            self._calls.answer(chunk, Reply(False, error=why))
        return gone

    def may_expire(self, chunk: Chunk) -> bool:
        """Whether there is room for what expires."""
        return self._drops_expired or bool(chunk.caller) or not self.letters.full

    def discard(self, number: int) -> DeadLetter | None:
        """Remove a letter for good; return it."""
        letter = self.letters.remove(number)
        if letter is not None:
            self._books.note(Discarded(number))
        return letter

    def sweep(self, now: float) -> None:
        """Discard what has been here for too long."""
        while (letter := self.letters.overdue(now)) is not None:
            self.discard(letter.id)
            self._books.counts.discarded += 1

    def _bury(
        self,
        chunk: Chunk,
        message: bytes,
        index: int,
        cause: Cause,
        now: float,
        *,
        whole: bool = True,
    ) -> None:
        self._books.counts.dead += 1
        if chunk.caller:
            why = f"{cause.reason}: {cause.error}" if cause.error else cause.reason
            self._calls.answer(chunk, Reply(False, error=why))
            return
        letter = DeadLetter(
            id=self.letters.next_number(),
            message=message,
            options=chunk.options,
            reason=cause.reason,
            attempts=chunk.attempt,
            error=cause.error,
            traceback=cause.traceback,
            first_put=chunk.put_at,
            died=now,
            whole=whole,
            number=chunk.origin + index,
            worker=cause.worker,
            process=cause.process,
        )
        self.letters.add(letter)
        self._books.note(Buried(letter))
