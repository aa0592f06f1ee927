"""The consumer's end of a queue: chunks in, a cursor that says how far it is, lazy acks."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from supervisor.errors import escaped
from supervisor.link import WorkerLink
from workers.queues.client.door import Door
from workers.queues.client.serializers import encoder_of
from workers.queues.client.window import Window
from workers.queues.core.chunk import decode_options
from workers.queues.cursor import CursorWriter
from workers.queues.errors import MessageTooLarge, UndecodableError
from workers.queues.frames import (
    MAX_BODY,
    PAIR,
    PREFIX,
    Hello,
    Kind,
    Nack,
    Options,
    Reply,
    frame,
    name_of,
)
from workers.queues.payload import ChunkDecoder, Undecodable
from workers.queues.ring import ROOM

#: Acknowledgements that wait to be sent together: chunks at most, and this part of the window.
MAX_PENDING, PART_OF_WINDOW = 64, 4
#: Characters of a reason, an error and a traceback that are sent.
MAX_REASON, MAX_TRACEBACK = 1000, 20_000

_encode = msgspec.msgpack.Encoder().encode
_NONE = Options()


class Delivered:
    """A chunk that was delivered.

    ``messages`` holds all of its messages, those that were done before too: ``done`` of them. To
    look at one may unpickle it: the cursor has to point at it before.
    ``attempt`` is 1 the first time. ``first`` numbers the first of its messages, for ever.
    ``flawed``: some of them are `Undecodable`. ``suspect``: a `Suspicion`.
    """

    __slots__ = (
        "_options",
        "attempt",
        "came",
        "done",
        "first",
        "flawed",
        "id",
        "messages",
        "suspect",
    )

    def __init__(
        self,
        number: int,
        done: int,
        attempt: int,
        first: int,
        options: bytes,
        messages: Sequence[Any],
    ) -> None:
        self.first = first
        self.id, self.done, self.attempt, self.messages = number, done, attempt, messages
        self._options = options
        self.came = time.monotonic() if options else 0.0
        self.flawed = False
        self.suspect = 0

    def message(self, index: int) -> Any:
        """Return a message; raises UndecodableError if it is none that its handler takes."""
        message = self.messages[index]
        if isinstance(message, Undecodable):
            raise UndecodableError(message.why)
        return message

    @property
    def options(self) -> Options:
        """What its producer said of it."""
        return decode_options(self._options) or _NONE

    @property
    def deadline(self) -> float | None:
        """When it expires, by `time.monotonic`; None: never."""
        left = self.options.ttl
        return self.came + left if left else None

    @property
    def is_call(self) -> bool:
        """Whether somebody waits for the result."""
        return bool(self._options) and self.options.reply != 0


def undecodable(error: UndecodableError) -> Nack:
    """Say that a message is to be buried because it could not be decoded."""
    return Nack("dead", reason="undecodable", error=f"not decodable: {error}")


#: Stands for the chunk of a consumer that works on none.
NOTHING = Delivered(0, 0, 0, 0, b"", [])


class Delivery:
    """One message, to be settled by `QueueReader.done`. ``attempt``: 1 the first time."""

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
        prefetch: messages that are sent ahead; 0: tuned by what handling them takes, and whether
            keys take turns.
        link: the worker's link; a request to stop while waiting raises Interrupted.
        lanes: messages that are worked on at once; with more than one, each comes alone.
        together: messages that are handled as one, at most.

    Raises:
        QueueUnavailable: the broker does not answer.
        QueueRefused: there is no queue of that name.

    """

    def __init__(
        self,
        queue: str,
        address: str,
        type: Any = Any,  # noqa: A002 - msgspec's word
        prefetch: int = 0,
        link: WorkerLink | None = None,
        lanes: int = 1,
        together: int = 1,
    ) -> None:
        self.queue, self.lanes = queue, lanes
        self.cursor = CursorWriter()
        context = None if link is None else link.context
        worker = "" if context is None else f"{context.path}#{context.incarnation}"
        hello = Hello("consumer", queue, lanes=lanes, worker=worker, ring=True)
        self.door = Door(address, hello, link, self.cursor.fd)
        self._pending: dict[int, int] = {}  # chunk -> messages done, not acknowledged yet
        self._unsaid = 0  # messages of these
        self._thanked = 0  # bytes that came by the ring, which the broker has heard of since
        self._put_back: list[Delivered] = []
        self.connections = 1  # so many were made: what came by another one than the last is void
        self.door.connect()
        welcome = self.door.welcome
        fair = welcome.fair_by is not None
        self.window = Window(prefetch, welcome.capacity, together, lanes=lanes, fair=fair)
        self._decoder = ChunkDecoder(type, welcome.serializer)
        self._encode_into = encoder_of(welcome.serializer)
        self._grant()

    # --- in -----------------------------------------------------------------------------------

    def take(
        self, deadline: float | None = None, *, block: bool = True, keep: bool = False
    ) -> list[Delivered]:
        """Wait for chunks, and return those that came; none at the deadline, or after a break.

        Args:
            deadline: by `time.monotonic`; None: for ever.
            block: wait at all.
            keep: something is held that came before: do not connect anew, which would make it void.

        """
        if self._put_back:
            chunks, self._put_back = self._put_back, []
            return chunks
        self.flush()
        self._thank(0)
        if not keep and (not self.door.connected or self.cursor.fenced):
            self.reconnect()
        chunks = []
        for kind, count, number, body in self.door.frames(block=block, deadline=deadline):
            if kind == Kind.DELIVER:
                done, attempt, size, first, suspect = PREFIX.unpack_from(body)
                start = PREFIX.size + size
                options = bytes(body[PREFIX.size : start]) if size else b""
                messages = self._decoder.decode(body[start:], count)
                chunk = Delivered(number, done, attempt, first, options, messages)
                chunk.flawed, chunk.suspect = self._decoder.flawed, suspect
                chunks.append(chunk)
        self._thank(ROOM // 4 if block else 0)
        return chunks

    def put_back(self, chunks: list[Delivered]) -> None:
        """What was taken, and not begun, is the next to be taken."""
        self._put_back = chunks

    def receive(self, deadline: float | None = None) -> Iterator[Delivery]:
        """Wait for messages, and yield those that came; nothing at the deadline.

        Each has to be settled with `done` before the next one is taken.
        """
        for chunk in self.take(deadline):
            for index in range(chunk.done, len(chunk.messages)):
                self.cursor.busy(chunk.id, index)
                if self.cursor.fenced:
                    return
                try:
                    message = chunk.message(index)
                except UndecodableError as error:
                    self.undecodable(chunk, index, error)
                    continue
                yield Delivery(chunk.id, index, chunk.attempt, message)

    # --- out ----------------------------------------------------------------------------------

    def done(self, delivery: Delivery) -> None:
        """The message was handled: it will not come again."""
        self.cursor.idle(delivery.chunk, delivery.index + 1)
        self.acknowledge(delivery.chunk, delivery.index + 1, 1)

    def acknowledge(self, chunk: int, done: int, messages: int) -> None:
        """The first ``done`` messages of a chunk are done, so many since the last time.

        It is said later, with others; the cursor has to say it before.
        """
        self._pending[chunk] = done
        self._unsaid += messages
        enough = self._unsaid * PART_OF_WINDOW >= self.window.messages
        if enough or len(self._pending) >= MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Send the acknowledgements that wait."""
        if self._pending:
            pairs = b"".join(PAIR.pack(chunk, done) for chunk, done in self._pending.items())
            self._say(frame(Kind.ACK, pairs, len(self._pending)))
            self._pending.clear()
            self._unsaid = 0
            self._thanked = self.door.taken

    def nack(self, chunk: Delivered, index: int, nack: Nack, lane: int | None = 0) -> None:
        """Give a message back, or bury it; those before it in its chunk are done.

        The cursor of the lane goes on behind it, once it is said: what died with us unsaid would
        count as done. None: the cursor stays where it is.
        """
        self._pending.pop(chunk.id, None)
        self.flush()  # a chunk that it settles is no mark any more for what lies before it
        said = Nack(
            nack.action,
            nack.delay,
            escaped(nack.reason[:MAX_REASON]),
            escaped(nack.error[:MAX_REASON]),
            escaped(nack.traceback[-MAX_TRACEBACK:]),
            nack.fatal,
        )
        self.door.tell(frame(Kind.NACK, _encode(said), index, chunk.id))
        if lane is not None:
            self.cursor.idle(chunk.id, index + 1, lane)

    def reply(self, chunk: Delivered, reply: Reply, lane: int = 0) -> None:
        """Answer a call; that settles its message."""
        self.flush()  # as above
        said = Reply(reply.ok, reply.body, escaped(reply.error[:MAX_REASON]), reply.fatal)
        self.door.tell(frame(Kind.REPLY, _encode(said), 0, chunk.id))
        self.cursor.idle(chunk.id, len(chunk.messages), lane)

    def encode(self, result: Any) -> bytes:
        """Encode the result of a call.

        Raises:
            TypeError: it cannot be encoded.
            MessageTooLarge: nor sent.

        """
        buffer = bytearray()
        self._encode_into(result, buffer, -1)
        if len(buffer) > MAX_BODY:
            raise MessageTooLarge(f"a result of {len(buffer)} bytes; at most {MAX_BODY}")
        return bytes(buffer)

    def name(self, chunk: Delivered, index: int) -> str:
        """Name a message: the same however often it comes, and no other one's ever."""
        return name_of(self.queue, self.door.welcome.epoch, chunk.first + index)

    def extend(self, chunk: Delivered) -> None:
        """Say that a chunk is worked on: its lease begins anew."""
        self._say(frame(Kind.PROGRESS, argument=chunk.id))

    def undecodable(
        self, chunk: Delivered, index: int, error: UndecodableError, lane: int | None = 0
    ) -> None:
        """Bury a message that is not of the type its handler takes."""
        self.nack(chunk, index, undecodable(error), lane)

    def measured(self, messages: int, seconds: float) -> None:
        """Learn what handling so many messages has taken."""
        if self.window.measured(messages, seconds):
            self._grant()

    def close(self) -> None:
        """Give back what was not handled, unblamed, and close the connection."""
        self.flush()
        self.door.break_off()

    def reconnect(self) -> None:
        """Connect anew: the broker was restarted, or has taken back what we had."""
        # Another connection has other chunks: what is pending means nothing to it.
        self._pending.clear()
        self._unsaid = self._thanked = 0
        self._put_back = []
        self.connections += 1
        # The old cursor stays as it is: its broker may still look at it.
        self.door.break_off()
        self.cursor.close()
        self.cursor = CursorWriter()
        self.door.fd = self.cursor.fd
        self.door.connect()
        self._grant()

    def _thank(self, most: int) -> None:
        """Say something if more than so much came by the ring since the last word.

        A broker that finds the ring full waits for a word of who takes from it.
        """
        if self.door.taken - self._thanked > most:
            self._thanked = self.door.taken
            self._say(frame(Kind.ACK))

    def _grant(self) -> None:
        # A consumer of several lanes has others to feed: nothing is quick for it.
        burst = self.window.burst if self.lanes == 1 else 0
        self._say(frame(Kind.CREDIT, count=burst, argument=self.window.messages))

    def _say(self, said: bytes) -> None:
        self.door.post(said)
