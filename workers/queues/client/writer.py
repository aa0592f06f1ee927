"""The producer's end of a queue: put, and be held back when the queue is full.

    put ──► [ draft ] ──sealed──► [ unconfirmed ] ──CONFIRM──► forgotten
                                         └──REJECTED──► an error, raised by the next call

A message is sent at once after a pause; what comes in a stream waits in the draft for what follows,
and all are one chunk: the broker's work is by chunks. What waits is sent when the chunk is full,
when a tenth of a millisecond has passed and the broker is not behind, before anything blocks, and
by a thread (see `flusher`) within a millisecond at the latest.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from types import TracebackType
from typing import Any, Unpack

from supervisor.link import WorkerLink
from workers.queues.client.caller import Callers, Calling
from workers.queues.client.door import Door
from workers.queues.client.draft import Draft, whole
from workers.queues.client.flusher import Flusher
from workers.queues.client.outlet import Outlet, deadline_of
from workers.queues.client.put_options import PutOptions, Routing, encoded
from workers.queues.client.serializers import batch_encoder_of, encoder_of
from workers.queues.errors import MessageTooLarge, QueueError
from workers.queues.frames import Hello

#: A chunk is sent with so many messages, or bytes; and with at most this part of what the queue
#: holds of them. Each costs two wake-ups, of the broker and of a consumer.
CHUNK_MESSAGES, CHUNK_BYTES = 256, 1 << 17
CHUNKS_OF_CAPACITY = 8
#: Seconds without a put, after which one is sent at once: what comes faster is sent together.
PAUSE = 0.0001
#: Messages on their way, with which it is; with more, the broker has enough to do.
LITTLE = 32
#: Seconds after a put in which the next one is sent before the broker is listened to.
LATELY = 0.01
#: Messages in one chunk of `put_many`.
BATCH = 100


class QueueWriter:
    """Puts messages into a queue. Several threads may use one; a process forked later may not.

    What was put is sent within a millisecond, and *confirmed* by the broker a little later: with
    ``put(confirm=True)`` and `flush` one waits for that. A message that is confirmed is in the
    queue, whatever becomes of this process. One that is not is lost if this process dies before it
    was sent; if the broker dies it is sent again, to the next one.

    Args:
        queue: its name.
        address: path of the broker's socket.
        link: the worker's link: its work loop beats by it while it waits.
        stops: whether a request to stop ends a wait (Interrupted).

    Raises:
        QueueUnavailable: the broker does not answer.
        QueueRefused: there is no queue of that name.

    """

    def __init__(
        self, queue: str, address: str, link: WorkerLink | None = None, *, stops: bool = True
    ) -> None:
        self.queue = queue
        hello = Hello("producer", queue, f"{os.getpid()}-{os.urandom(8).hex()}", ring=True)
        self._door = Door(address, hello, link, stops=stops)
        self._door.connect()
        self._outlet = Outlet(queue, self._door)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        welcome = self._door.welcome
        self.routing = Routing(welcome.fair_by, welcome.dedupe_by)
        self.confirms = welcome.overflow in ("reject", "shed")  # each put, unless told otherwise
        self._plain = not self.confirms and not self.routing
        share = max(1, welcome.capacity // CHUNKS_OF_CAPACITY)
        self._chunk = min(CHUNK_MESSAGES, share, welcome.max_count)
        self._limit = min(CHUNK_BYTES, welcome.max_body // CHUNKS_OF_CAPACITY)
        self._draft = Draft(encoder_of(welcome.serializer))
        self._encode_many = batch_encoder_of(welcome.serializer)
        self._flusher = Flusher(self._tick)
        self.callers = Callers(queue, address, link if stops else None)

    # --- putting ------------------------------------------------------------------------------

    def put(
        self,
        message: Any,
        timeout: float | None = None,
        *,
        confirm: bool | None = None,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put one message.

        Args:
            message: JSON types, bytes, datetimes, dataclasses or msgspec Structs; what the queue's
                serializer takes.
            timeout: seconds to wait for room, and for a broker that is being restarted; None: as
                long as it takes (30 s for the broker).
            confirm: wait until the broker has it. None: only if the queue is one that refuses
                (``overflow="reject"`` or ``"shed"``), so that the refusal is raised here.
            **options: see `PutOptions`.

        Raises:
            QueueFull: no room within the timeout, or refused; the message was not put. Refusals of
                earlier, unconfirmed puts are raised here too (``messages`` of them). A QueueTimeout
                of ``confirm``: not confirmed in time; it may be put yet, by itself.
            QueueUnavailable: no broker within the timeout; the message was not put.
            QueueError: this writer is closed, or was opened by another process.
            MessageTooLarge: it can never be put.
            TypeError, ValueError: it cannot be encoded, or an option is not one.
            Interrupted: the worker was asked to stop while this waited.

        """
        if options or confirm or not self._plain:
            self._put_with(message, timeout, confirm, options)
            return
        if not self._lock.acquire(False):
            self._acquire(timeout)
        try:
            draft = self._draft
            if draft.count == 0 or draft.options:
                self._begin(b"", timeout)
            buffer = draft.buffer  # from here on it is `Draft.add`, written out
            mark = len(buffer)
            try:
                draft.encode_into(message, buffer, -1)
            except BaseException:
                del buffer[mark:]
                raise
            draft.count = count = draft.count + 1
            if count >= draft.look_at or len(buffer) >= self._limit:
                self._look(mark, timeout)
        finally:
            self._lock.release()

    def put_many(
        self,
        messages: Iterable[Any],
        timeout: float | None = None,
        *,
        confirm: bool | None = None,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put messages, in chunks: faster than one by one.

        Args and errors are those of `put`, but that the timeout is one for each chunk. When one is
        raised, messages before it may have been put.
        """
        if self.routing or "dedupe" in options:
            for message in messages:
                self.put(message, timeout, confirm=False, **options)
        else:
            said = encoded(self.routing.of(None, options))
            size = max(1, min(BATCH, self._door.welcome.max_count))
            rest = iter(messages)
            while chunk := list(islice(rest, size)):
                self._put_chunk(chunk, said, timeout)
        if self.confirms if confirm is None else confirm:
            self.flush(timeout)

    def call(
        self, message: Any, timeout: float | None = None, **options: Unpack[PutOptions]
    ) -> Any:
        """Put a message, and wait for what its handler returns.

        Args:
            message: as for `put`.
            timeout: seconds to wait for the result; None: as long as it takes.
            **options: see `PutOptions`; ``ttl`` is the timeout, if it is not given.

        Raises:
            CallFailed: the handler raised, or the message became a dead letter.
            CallTimeout: no result came in time; the call was taken back if it had not begun.
            QueueFull: the queue refused it.

        """
        return Calling(self.callers, message, self.routing.of(message, options), timeout).run()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was put is confirmed.

        Raises:
            QueueFull: that took longer than ``timeout`` seconds, or something was refused.

        """
        self._acquire(timeout)
        try:
            if self._draft.count:
                self._send()
            self._outlet.wait_for_all(deadline_of(timeout))
        finally:
            self._lock.release()

    def close(self, timeout: float | None = None) -> None:
        """Flush, and close the connection, even if that fails. Errors are those of `flush`."""
        try:
            self.flush(timeout)
        finally:
            self._break_off()

    def close_within(self, seconds: float) -> int:
        """Close it, though asked to stop; return how many messages were not confirmed."""
        self._door.ignore_stops()
        try:
            self.close(seconds)
        except QueueError:
            pass
        return self._outlet.unconfirmed.messages + self._draft.count

    def __enter__(self) -> "QueueWriter":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; without waiting when there was an error."""
        if kind is None:
            self.close()
        else:
            self._break_off()

    # --- for who waits elsewhere --------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether `put` would not wait now. Errors are those of `put`."""
        with self._lock:
            return self._outlet.has_room()

    def is_confirmed(self) -> bool:
        """Whether `flush` would not wait now; sends what was kept back. Errors are its own."""
        with self._lock:
            if self._draft.count:
                self._send()
            return self._outlet.is_confirmed()

    def waits_on(self, on_break: Callable[[], None]) -> Door:
        """The connection whose descriptor is to be waited for; ``on_break``: when it is void."""
        self._door.on_break = on_break
        return self._door

    # --- the slow path ------------------------------------------------------------------------

    def _put_with(
        self, message: Any, timeout: float | None, confirm: bool | None, options: PutOptions
    ) -> None:
        made = self.routing.of(message, options)
        said = encoded(made)
        self._acquire(timeout)
        try:
            draft = self._draft
            if draft.count == 0 or draft.options != said or made.dedupe:
                self._begin(said, timeout)
            mark = draft.add(message)
            if self.confirms if confirm is None else confirm:
                self._look(mark, timeout)
                if draft.count:
                    self._send()
                self._outlet.wait_for_all(deadline_of(timeout))
            elif draft.count >= draft.look_at or len(draft.buffer) >= self._limit:
                self._look(mark, timeout)
        finally:
            self._lock.release()

    def _put_chunk(self, messages: list[Any], options: bytes, timeout: float | None) -> None:
        self._acquire(timeout)
        try:
            self._begin(b"", timeout)
            frame = whole(messages, options, self._outlet.sequence + 1, self._encode_many)
            fits = len(frame) <= self._door.welcome.max_body
            if fits:
                self._post(len(messages), frame, timeout)
        finally:
            self._lock.release()
        if not fits:
            self._put_singly(messages, options, timeout)

    def _put_singly(self, messages: list[Any], options: bytes, timeout: float | None) -> None:
        for message in messages:
            self._acquire(timeout)
            try:
                self._begin(options, timeout)
                self._look(self._draft.add(message), timeout)
            finally:
                self._lock.release()

    def _acquire(self, timeout: float | None) -> None:
        deadline = deadline_of(timeout)
        while not self._lock.acquire(timeout=self._door.patience(deadline)):
            if not self._door.rest(deadline):
                raise self._outlet.full(time.monotonic() - (timeout or 0.0))

    def _begin(self, options: bytes, timeout: float | None) -> None:
        """Make room for a message with these options; wait for it, and for the broker."""
        if os.getpid() != self._pid:
            raise QueueError(f"the writer of {self.queue!r} belongs to the process that opened it")
        if self._flusher.stopped:  # nobody would send what is kept back
            raise QueueError(f"the writer of {self.queue!r} is closed: open another one")
        draft = self._draft
        if draft.count:
            self._send()
        now = time.monotonic()
        if not self._outlet.calm or now - self._sent > LATELY:
            self._outlet.wait_for_room(deadline_of(timeout))
            now = time.monotonic()
        if options or draft.options:
            draft.begin(options)
        draft.begun = now

    def _look(self, mark: int, timeout: float | None) -> None:
        """Send the draft if it is time to. ``mark``: where its last message begins."""
        draft, limit = self._draft, self._limit
        if len(draft.buffer) >= limit and draft.size > self._door.welcome.max_body:
            self._part(mark)
        full = draft.count >= self._chunk or len(draft.buffer) >= limit
        if full or self._is_time():
            alone = draft.count == 1
            self._send(timeout)
            if alone and not self._outlet.calm:  # not before: somebody waits for the message
                self._outlet.collect()
        else:
            draft.look_at = min(self._chunk, draft.look_at * 2)
            self._flusher.wake()

    def _is_time(self) -> bool:
        """Whether there was a pause, so more is not about to come, and little is on its way."""
        if self._draft.count == 1:  # what is not confirmed, or not heard of, is little
            return (
                self._draft.begun - self._sent > PAUSE
                and self._outlet.unconfirmed.messages <= LITTLE
            )
        if time.monotonic() - self._draft.begun < PAUSE:
            return False
        self._outlet.collect()
        return self._outlet.unconfirmed.messages <= LITTLE

    def _part(self, mark: int) -> None:
        """The last message does not fit beside the others: it goes alone, if it can go at all."""
        draft, largest = self._draft, self._door.welcome.max_body
        options, before = draft.options, draft.count - 1
        message = draft.take_back(mark)
        if before:
            self._send()
        draft.begin(options)
        draft.add_encoded(message)
        if draft.size > largest:
            size = draft.size
            draft.begin(b"")
            raise MessageTooLarge(f"{size} bytes; {self.queue!r} takes {largest} at most")

    def _send(self, timeout: float | None = 0.0) -> None:
        draft = self._draft
        try:
            self._post(draft.count, draft.seal(self._outlet.sequence + 1), timeout)
        finally:
            draft.begin(b"")  # if the wait for the rest was interrupted too: that follows

    def _post(self, count: int, frame: bytearray, timeout: float | None) -> None:
        self._outlet.send(count, frame)
        self._sent = self._draft.begun
        if self._door.backlog:
            if timeout is None:
                self._outlet.wait_until_sent()
            else:
                self._flusher.wake()  # it sends the rest

    def _tick(self) -> bool:
        """Send what is still kept back since the last tick; called by the flusher's thread."""
        if not self._lock.acquire(False):
            return True  # somebody is at it
        try:
            draft, door = self._draft, self._door
            if door.backlog:
                door.push()
                return True
            if not draft.count or not door.connected:
                return False  # the next call connects, and sends it
            if draft.serial == self._seen:
                self._send()
            self._seen = draft.serial
            return True
        finally:
            self._lock.release()

    _seen = 0  # the serial of the draft at the last tick
    _sent = 0.0  # when the last one was begun that was sent

    def _break_off(self) -> None:
        self._flusher.stop()
        self.callers.close()
        self._door.break_off()
