"""A consumer: what an author writes to be fed by a queue."""

import inspect
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from supervisor.link import WorkerLink
from supervisor.logs import record
from workers.loops.batch import Batch, BatchLoop
from workers.loops.declaration import check, check_result
from workers.loops.lanes import at_hand
from workers.loops.serial import SerialLoop
from workers.queues.client.reader import NOTHING, Delivered, QueueReader
from workers.queues.errors import Interrupted, Reject, Retry
from workers.worker import Worker, queue_address, queue_name

if TYPE_CHECKING:
    from workers.loops.tasks import TaskLoop
    from workers.loops.threads import ThreadLoop


class Consumer(Worker):
    """Base of workers that are fed by a queue (``Child(..., queue=...)``).

    At least once: a message is acknowledged after `handle` returned. When the process dies before
    that, for whatever reason, the message comes again at once, to another consumer or the next
    incarnation, with `attempt` one higher; after the queue's ``max_attempts`` it becomes a dead
    letter. Messages that were only sent ahead are not blamed.

    What `handle` raises is told to the broker, with its traceback, and the message comes again
    after the queue's backoff; then the exception ends the process: let it crash. With
    ``on_error = "retry"`` the process goes on instead. `Retry` and `Reject` never end it.

    A message is decoded to the type that the parameter of `handle` is annotated with; one that
    does not fit becomes a dead letter. What `handle` returns is the result, if it was called (see
    `QueueWriter.call`), and means nothing otherwise.
    """

    needs_queue = True
    #: Messages that are sent ahead, at most; 0: as many as are handled in a quarter of a second, of
    #: a queue with `fair_by` in a twentieth.
    prefetch: int = 0
    #: Messages of a batch of `handle_many` at most, and seconds to wait for a full one.
    batch: int = 100
    batch_wait: float = 0.0
    #: Messages that are handled at once, 511 at most: by threads; or, if `handle` is ``async def``,
    #: by tasks. Not for batches.
    threads: int = 1
    concurrency: int = 100
    #: After an exception: "crash" ends the process, "retry" goes on with the next message.
    on_error: str = "crash"

    #: Which message of its chunk is handled; kept by the loop.
    index = 0
    finished = False
    _chunk = NOTHING
    _reader: QueueReader
    _loop: "SerialLoop | ThreadLoop | TaskLoop"

    def handle(self, message: Any) -> Any:
        """Handle one message."""
        if not self.batches:
            raise NotImplementedError(f"{type(self).__name__} has no handle()")
        batch: Batch[Any] = Batch([message], [self.attempt])
        handle_many: Callable[[Batch[Any]], Any] = self.handle_many
        check_result(handle_many(batch))
        if 0 in batch.outcomes:
            raise batch.outcomes[0]

    def handle_many(self, batch: Batch[Any]) -> None:
        """Handle several messages at once: override this instead of `handle`.

        When it returns, all of them are done but those that `Batch.nack` or `Batch.reject` named.
        When it raises, all come again, each alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no handle_many()")

    # --- for handlers -------------------------------------------------------------------------

    @property
    def attempt(self) -> int:
        """How often the message at hand was delivered, from 1."""
        return self._at_hand.attempt

    @property
    def message_id(self) -> str:
        """Names the message at hand: the same however often it comes, and no other one's ever."""
        chunk = self._at_hand
        return self._reader.name(chunk, self.index if chunk is self._chunk else chunk.done)

    @property
    def deadline(self) -> float | None:
        """When the message at hand expires, by `time.monotonic`; None: never."""
        return self._at_hand.deadline

    @property
    def headers(self) -> dict[str, str]:
        """What its producer sent along with the message at hand."""
        return self._at_hand.options.headers

    def extend(self) -> None:
        """Say that the message at hand is still worked on: its lease begins anew."""
        self._reader.extend(self._at_hand)

    def nack(self, delay: float | None = None, reason: str = "") -> NoReturn:
        """Let the message at hand come again, ``delay`` seconds later; does not return."""
        raise Retry(delay, reason)

    def reject(self, reason: str = "") -> NoReturn:
        """Make the message at hand a dead letter; does not return."""
        raise Reject(reason)

    def finish(self) -> None:
        """End in order after the message at hand (which is acknowledged), with exit status 0."""
        self.finished = True
        if isinstance(self._loop, SerialLoop):
            self._loop.look_at = 0.0

    @property
    def batches(self) -> bool:
        """Whether it handles batches: has a `handle_many` of its own."""
        return type(self).handle_many is not Consumer.handle_many

    @property
    def _at_hand(self) -> Delivered:
        return at_hand.get(self._chunk)

    # --- for the runtime ----------------------------------------------------------------------

    @classmethod
    def _foresee(cls) -> None:
        """Find out in a template what its forks would have to, each of them."""
        message_type(cls)

    def at(self, chunk: Delivered, index: int) -> None:
        """The message at ``index`` of a chunk is handled from now on."""
        self._chunk, self.index = chunk, index

    def _in_records(self) -> dict[str, Any]:
        chunk = self._at_hand
        if chunk is NOTHING:
            return {}
        trace = trace_id(chunk.options.headers.get("traceparent", ""))
        return {"message_id": self.message_id, **({"trace_id": trace} if trace else {})}

    def supervised(self, link: WorkerLink) -> None:
        """Live: called by the runtime."""
        try:
            super().supervised(link)
        except Interrupted:  # while it was being connected: it has nothing to finish
            if not link.interrupted:
                raise

    def connect(self) -> None:
        """Connect to the queue."""
        check(self, self.batches)
        loop: Any = BatchLoop if self.batches else SerialLoop
        lanes = 1
        # Imported by those who need them: every fork of a template carries what it has imported.
        if inspect.iscoroutinefunction(self.handle):
            from workers.loops.tasks import TaskLoop

            loop, lanes = TaskLoop, self.concurrency
        elif self.threads > 1:
            from workers.loops.threads import ThreadLoop

            loop, lanes = ThreadLoop, self.threads
        self._reader = QueueReader(
            queue_name(self, self.link),
            queue_address(self.link),
            message_type(type(self)),
            self.prefetch,
            self.link,
            lanes,
            self.batch if self.batches else 1,
        )
        self._loop = loop(self, self._reader, self.link)
        record.at_hand.append(self._in_records)

    def run(self) -> None:
        """Take and handle messages until asked to stop."""
        self._loop.run()


def trace_id(traceparent: str) -> str:
    """Return the trace id in a header of the W3C's Trace Context; "" if it is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 else ""


#: Of a function, looked at once: a template does it, for all its forks.
_hints_of = lru_cache(maxsize=64)(typing.get_type_hints)


def message_type(consumer: type[Consumer]) -> Any:
    """Return the type of message that a consumer handles; Any if it does not say."""
    many = consumer.handle_many is not Consumer.handle_many
    hints = _hints_of(consumer.handle_many if many else consumer.handle)
    taken = next((hint for name, hint in hints.items() if name != "return"), Any)
    if not many:
        return taken
    return next(iter(typing.get_args(taken)), Any)  # of list[Order], or Batch[Order]
