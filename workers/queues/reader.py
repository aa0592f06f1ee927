"""The consumer's end of a queue: chunks in, a cursor that says how far it is, lazy acks."""

from collections.abc import Iterator
from typing import Any

from supervisor.link import WorkerLink
from workers.queues.cursor import CursorWriter
from workers.queues.door import Door
from workers.queues.frames import PAIR, PREFIX, Hello, Kind, frame
from workers.queues.payload import ChunkDecoder, Undecodable

#: Acknowledgements that wait to be sent together, at most.
MAX_PENDING = 64
#: Bytes of a reason that are sent.
MAX_REASON = 1000


class Delivery:
    """One message, to be settled by `Reader.done`. ``attempt``: 1 the first time."""

    __slots__ = ("attempt", "chunk", "index", "message")

    def __init__(self, chunk: int, index: int, attempt: int, message: Any) -> None:
        self.chunk, self.index, self.attempt, self.message = chunk, index, attempt, message

    @property
    def id(self) -> str:
        """Names this delivery, for logs."""
        return f"{self.chunk}.{self.index}"


class QueueReader:
    """Takes messages from a queue.

    Args:
        queue: its name.
        address: path of the broker's socket.
        type: what messages are decoded to; one that does not fit becomes a dead letter.
        prefetch: messages that are sent ahead.
        link: the worker's link; a request to stop while waiting raises Interrupted.

    """

    def __init__(
        self,
        queue: str,
        address: str,
        type: Any = Any,  # noqa: A002 - msgspec's word
        prefetch: int = 16,
        link: WorkerLink | None = None,
    ) -> None:
        self.queue = queue
        self._prefetch = prefetch
        self._decoder = ChunkDecoder(type)
        self._cursor = CursorWriter()
        self._door = Door(address, Hello("consumer", queue), link, self._cursor.fd)
        self._pending: dict[int, int] = {}  # chunk -> messages done, not acknowledged yet
        self._connect()

    def receive(self, deadline: float | None = None) -> Iterator[Delivery]:
        """Wait for messages, and yield those that came; nothing at the deadline.

        Each has to be settled with `done` before the next one is taken.
        """
        self.flush()
        chunks = []
        for kind, count, chunk, body in self._door.frames(block=True, deadline=deadline):
            if kind == Kind.DELIVER:
                done, attempt = PREFIX.unpack_from(body)
                messages = self._decoder.decode(body[PREFIX.size :], count)
                chunks.append((chunk, done, attempt, messages))
        for chunk, done, attempt, messages in chunks:
            for index in range(done, len(messages)):
                message = messages[index]
                if isinstance(message, Undecodable):
                    self._reject(chunk, index, message)
                    continue
                self._cursor.busy(chunk, index)
                yield Delivery(chunk, index, attempt, message)
        if not self._door.connected:
            self._connect()

    def done(self, delivery: Delivery) -> None:
        """The message was handled: it will not come again."""
        self._done(delivery.chunk, delivery.index + 1)

    def flush(self) -> None:
        """Send the acknowledgements that wait."""
        if self._pending:
            pairs = b"".join(PAIR.pack(chunk, done) for chunk, done in self._pending.items())
            self._door.send(frame(Kind.ACK, pairs, len(self._pending)))
            self._pending.clear()

    def close(self) -> None:
        """Give back what was not handled, unblamed, and close the connection."""
        self.flush()
        self._door.break_off()

    def _done(self, chunk: int, done: int) -> None:
        self._cursor.idle(chunk, done)
        self._pending[chunk] = done
        if len(self._pending) >= MAX_PENDING:
            self.flush()

    def _reject(self, chunk: int, index: int, message: Undecodable) -> None:
        why = f"not decodable: {message.why}".encode(errors="replace")[:MAX_REASON]
        self._door.send(frame(Kind.REJECT, why, index, chunk))
        self._done(chunk, index + 1)

    def _connect(self) -> None:
        # Another broker numbers its chunks anew: what is pending means nothing to it.
        self._pending.clear()
        self._cursor.idle(0, 0)
        self._door.connect()
        self._door.send(frame(Kind.CREDIT, argument=self._prefetch))
