"""The producer's end of a queue: put, and be held back when the queue is full."""

import os
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice
from types import TracebackType
from typing import Any

from supervisor.link import WorkerLink
from workers.queues import payload
from workers.queues.door import Door
from workers.queues.errors import MessageTooLarge, QueueFull
from workers.queues.frames import HEADER, Hello, Kind

#: Messages, and bytes, that were sent and are not confirmed: with these a writer waits.
WINDOW_MESSAGES = 512
WINDOW_BYTES = 1 << 20
#: Messages in one chunk of `put_many`.
CHUNK = 100


class QueueWriter:
    """Puts messages into a queue.

    What was put is sent at once and *confirmed* a little later: `flush` waits for that. A message
    that is confirmed is in the queue, whatever becomes of this process. When the broker is
    restarted, what was not confirmed is sent again.

    Args:
        queue: its name.
        address: path of the broker's socket.
        link: the worker's link, when waiting is to end with a request to stop (Interrupted).

    """

    def __init__(self, queue: str, address: str, link: WorkerLink | None = None) -> None:
        self.queue = queue
        hello = Hello("producer", queue, f"{os.getpid()}-{os.urandom(8).hex()}")
        self._door = Door(address, hello, link)
        self._unconfirmed: deque[tuple[int, int, bytes]] = deque()  # sequence, count, body
        self._messages = self._bytes = 0  # of them
        self._sequence = 0
        self._door.connect()

    def put(self, message: Any, timeout: float | None = None) -> None:
        """Put one message.

        Args:
            message: JSON types, bytes, datetimes, dataclasses or msgspec Structs.
            timeout: seconds to wait for room; None waits for ever.

        Raises:
            QueueFull: no room within the timeout; the message was not put.
            MessageTooLarge: it can never be put.
            TypeError: it cannot be encoded.

        """
        self._put(1, payload.encode([message]), timeout)

    def put_many(self, messages: Iterable[Any], timeout: float | None = None) -> None:
        """Put messages, in chunks: much faster than one by one. Errors are those of `put`."""
        size = max(1, min(CHUNK, self._door.capacity))
        rest = iter(messages)
        while chunk := list(islice(rest, size)):
            body = payload.encode(chunk)
            if len(body) <= self._door.max_body:
                self._put(len(chunk), body, timeout)
            else:
                for message in chunk:
                    self.put(message, timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was put is confirmed; QueueFull after ``timeout`` seconds."""
        if not self._wait_for(0, 0, _deadline(timeout)):
            raise self._full(timeout)

    def close(self) -> None:
        """Flush, and close the connection."""
        if self._door.connected or self._unconfirmed:
            self.flush()
        self._door.break_off()

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
            self._door.break_off()

    def _put(self, count: int, body: bytes, timeout: float | None) -> None:
        if len(body) > self._door.max_body:
            raise MessageTooLarge(f"{len(body)} bytes; {self.queue!r} takes {self._door.max_body}")
        if self._held_back:
            self._wait_for(WINDOW_MESSAGES // 2, WINDOW_BYTES // 2, _deadline(timeout))
            if self._held_back:
                raise self._full(timeout)
        self._sequence += 1
        self._unconfirmed.append((self._sequence, count, body))
        self._messages += count
        self._bytes += len(body)
        if not self._post(self._sequence, count, body):
            self._reconnect()
        if timeout is None and self._door.backlog:  # else it is sent by the next call
            self._wait_for(WINDOW_MESSAGES + count, WINDOW_BYTES + len(body), None)

    @property
    def _held_back(self) -> bool:
        """Whether one more has to wait."""
        full = self._messages >= WINDOW_MESSAGES or self._bytes >= WINDOW_BYTES
        return full or self._door.backlog

    def _full(self, timeout: float | None) -> QueueFull:
        return QueueFull(f"queue {self.queue!r} had no room for {timeout} s")

    def _post(self, sequence: int, count: int, body: bytes) -> bool:
        return self._door.post(HEADER.pack(len(body), Kind.PUT, count, sequence), body)

    def _wait_for(self, messages: int, size: int, deadline: float | None) -> bool:
        """Wait until all is sent and no more than so much is unconfirmed; False at the deadline."""
        while self._messages > messages or self._bytes > size or self._door.backlog:
            before = self._messages
            for kind, _count, sequence, _body in self._door.frames(block=True, deadline=deadline):
                if kind == Kind.CONFIRM:
                    self._confirmed(sequence)
            if not self._door.connected:
                self._reconnect()
            elif self._messages == before and deadline is not None and time.monotonic() >= deadline:
                return False
        return True

    def _confirmed(self, sequence: int) -> None:
        while self._unconfirmed and self._unconfirmed[0][0] <= sequence:
            _, count, body = self._unconfirmed.popleft()
            self._messages -= count
            self._bytes -= len(body)

    def _reconnect(self) -> None:
        """Connect to the broker again, and send again what it has not confirmed."""
        while True:
            self._door.connect()
            if all(self._post(*one) for one in self._unconfirmed):
                return


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
