"""What comes back from consumers: tried again, alone or as it was, or buried."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from supervisor.definition import QueueDefinition
from workers.queues.core.books import Books
from workers.queues.core.burial import MEMORY, OOM, Burial, Cause
from workers.queues.core.calls import Calls
from workers.queues.core.chunk import Chunk
from workers.queues.core.leases import Verdict
from workers.queues.core.retry import Jitter, backoff
from workers.queues.core.stock import Stock
from workers.queues.frames import Nack, Reply, Suspicion

#: What a call gets whose message was settled without an answer: nil, encoded.
NIL = b"\xc0"

#: A message over which so many consumers were ended for want of memory is dead.
MEMORY_ENDS = 2
#: Seconds that what has cost one consumer its life for that waits after another end: why that was
#: is known a moment later.
INQUEST = 0.5
#: Workers whose ends are remembered until it is known what they died of.
MAX_ENDS = 32


class Returns:
    """Takes back what consumers had."""

    def __init__(
        self,
        definition: QueueDefinition,
        books: Books,
        stock: Stock,
        burial: Burial,
        calls: Calls,
        jitter: Jitter,
    ) -> None:
        self._definition, self._books, self._stock = definition, books, stock
        self._burial, self._calls, self._jitter = burial, calls, jitter
        # By worker that has ended: its process, and the numbers of what it was working on; most of
        # it is settled soon.
        self._left: OrderedDict[str, tuple[int, list[int]]] = OrderedDict()

    def failed(
        self, chunk: Chunk, index: int, nack: Nack, now: float, worker: str = "", process: int = 0
    ) -> None:
        """Take the message at ``index`` out of a chunk, whose messages before it are done.

        ``worker``, ``process``: who has had it.
        """
        messages = self._books.opened(chunk)
        if not messages:
            self._burial.unopened(chunk, now)
            return
        message = messages[index]
        if nack.action == "dead" or chunk.attempt >= self._definition.max_attempts:
            word = "rejected" if nack.action == "dead" else "failed"
            cause = Cause(nack.reason or word, nack.error, nack.traceback, worker, process)
            self._burial.one(chunk, message, index, cause, now)
        else:
            delay = nack.delay
            if delay is None:
                delay = backoff(chunk.attempt, *self._definition.retry_backoff, self._jitter)
            alone = self._apart(chunk, [message], index)
            alone.not_before = now + max(0.0, delay)
            alone.failed(Suspicion.CHARGED if nack.fatal else Suspicion.FAILED)
            self._books.counts.retried += 1
            self._books.added(alone)
            self._stock.add(alone)
        self._books.advance(chunk, index + 1)

    def take_back(
        self, found: Iterable[Verdict], cause: Cause, now: float, *, renew: bool = False
    ) -> None:
        """Take back chunks. ``renew``: their consumer lives on, and may still speak of them."""
        back: list[Chunk] = []
        for verdict in found:
            chunk = verdict.chunk
            self._books.counts.settled += self._books.advance(chunk, verdict.done)
            if chunk.void:
                self._settled(chunk)
                continue
            if verdict.suspects:
                back += self._suspects(chunk, verdict.suspects, cause, now, ended=not renew)
            if not chunk.void:
                back.append(self._renewed(chunk) if renew else chunk)
        self._stock.give_back(back)

    def _suspects(
        self, chunk: Chunk, count: int, cause: Cause, now: float, *, ended: bool
    ) -> list[Chunk]:
        """Take the next messages out of a chunk: they come back by themselves, or are dead."""
        messages = self._books.opened(chunk)
        if not messages:
            self._burial.unopened(chunk, now)
            return []
        back: list[Chunk] = []
        end = chunk.done + count
        suspects = messages[chunk.done : end]
        memory_ends = chunk.memory_ends + (cause.reason == MEMORY)
        # Whose end may turn out to be the kernel's doing.
        asked = bool(cause.worker) and ended and cause.reason != MEMORY
        if chunk.attempt >= self._definition.max_attempts or memory_ends >= MEMORY_ENDS:
            for index, message in enumerate(suspects, chunk.done):
                self._burial.one(chunk, message, index, cause, now)
        else:
            apart = self._apart(chunk, suspects, chunk.done)
            apart.memory_ends = memory_ends
            apart.failed(Suspicion.SUSPECT if ended else Suspicion.FAILED)
            if chunk.memory_ends and asked:
                apart.not_before = now + INQUEST
                self._stock.add(apart)
            else:
                back.append(apart)
            self._books.added(apart)
            if asked:
                self._remember(cause, apart)
        self._books.advance(chunk, end)
        return back

    def out_of_memory(self, worker: str, chunks: Iterable[Chunk], now: float) -> None:
        """Charge what a worker was handling: it ended because the kernel killed it for memory.

        ``chunks``: all that are in the queue.
        """
        process, numbers = self._left.pop(worker, (0, []))
        if not numbers:
            return
        why = f"its consumer ({worker}) was killed for want of memory while handling it"
        for chunk in [one for one in chunks if one.id in numbers]:
            chunk.memory_ends += 1
            if chunk.memory_ends >= MEMORY_ENDS and not chunk.holder:
                chunk.attempt -= 1  # the next one is not made
                self._burial.rest(chunk, Cause(OOM, why, worker=worker, process=process), now)
                self._stock.withdrawn(chunk)

    def _remember(self, cause: Cause, chunk: Chunk) -> None:
        _, numbers = self._left.setdefault(cause.worker, (cause.process, []))
        numbers.append(chunk.id)
        if len(self._left) > MAX_ENDS:
            self._left.popitem(last=False)

    def _apart(self, chunk: Chunk, messages: Sequence[bytes], index: int) -> Chunk:
        apart = self._books.part(chunk, messages, index, chunk.attempt + 1)
        self._books.counts.redelivered += apart.count
        self._calls.opened(apart)
        return apart

    def _renewed(self, chunk: Chunk) -> Chunk:
        fresh = self._books.again(chunk, chunk.attempt)
        self._calls.opened(fresh)
        return fresh

    def _settled(self, chunk: Chunk) -> None:
        if chunk.caller:
            self._calls.answer(chunk, Reply(True, NIL))
