"""A queue in the broker: its core, the producers it holds back, and its store."""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import msgspec

from supervisor.definition import QueueDefinition
from workers.queues.broker.connection import Connection, Parked
from workers.queues.broker.inquest import Inquest, Tell, nobody
from workers.queues.broker.keeping import Keeping
from workers.queues.broker.outbox import FRAME_COST
from workers.queues.broker.refusals import why
from workers.queues.broker.waits import Waits
from workers.queues.core.burial import MEMORY, Cause
from workers.queues.core.chunk import decode_options
from workers.queues.core.clients import Clients, Sent
from workers.queues.core.fair import MAX_CHUNK
from workers.queues.core.intake import DUPLICATE, WAIT
from workers.queues.core.leases import Cursor
from workers.queues.core.queue import QueueCore
from workers.queues.cursor import CursorReader
from workers.queues.frames import (
    MAX_BODY,
    MAX_COUNT,
    MAX_LANES,
    MAX_OPTIONS,
    PAIR,
    SIZE,
    FrameError,
    Hello,
    Kind,
    Nack,
    Options,
    Reply,
    Welcome,
)
from workers.queues.ring import RingReader, RingWriter

_decode_nack = msgspec.msgpack.Decoder(Nack).decode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode
_encode = msgspec.msgpack.Encoder().encode

#: Characters of a consumer's name.
MAX_NAME = 200

_PUT, _SIZE = int(Kind.PUT), SIZE.size


class QueueHost:
    """One queue, and the connections that put into it.

    Args:
        core: the queue.
        keeping: its store, if it is durable.
        connections: all of the broker's, by number.
        dirty: told of each connection with something to send.
        tell: told what a consumer was handling when it ended.

    """

    def __init__(
        self,
        core: QueueCore,
        keeping: Keeping | None,
        connections: dict[int, Connection],
        dirty: dict[int, Connection],
        tell: Tell = nobody,
    ) -> None:
        self.core, self.keeping = core, keeping
        self.name = core.definition.name
        self.now = 0.0  # the time of this pass
        self.due = 0.0  # when `core` has something to do
        self.blocked: OrderedDict[int, Connection] = OrderedDict()  # the longest first
        self.waits = Waits()  # of these
        self.cut = 0  # connections that were closed in the middle of a frame
        self.clients = Clients() if keeping is None else keeping.clients
        self.welcome = welcome(core.definition)
        self._inquest = Inquest(self.name, self.welcome.epoch, tell)
        self._connections, self._dirty = connections, dirty
        # Whether a put without options that fits can be taken without asking further.
        self._short = keeping is None and core.intake.shedder is None

    # --- who comes, and goes ------------------------------------------------------------------

    def producer(self, connection: Connection, hello: Hello) -> None:
        """Serve a producer; raises ValueError if it has sent no ring, but said so."""
        if hello.ring:
            connection.frames.ring = connection.take_ring(RingReader)
        connection.sent = self.clients.entered(hello.client or f"#{connection.number}")
        connection.handler = self.from_producer

    def consumer(self, connection: Connection, hello: Hello) -> None:
        """Serve a consumer.

        Raises:
            ValueError: it has sent no cursor, or one that is none; or no ring, but said so.

        """
        if not 1 <= hello.lanes <= MAX_LANES:
            raise FrameError(f"{hello.lanes} lanes; allowed: 1 to {MAX_LANES}")
        connection.cursor = CursorReader(connection.take_descriptor(), hello.lanes)
        connection.worker = hello.worker[:MAX_NAME]
        if hello.ring:
            connection.out.ring = connection.take_ring(RingWriter)
        definition = self.core.definition
        connection.out.limit += definition.max_bytes + FRAME_COST * 2 * definition.capacity
        connection.handler = self.from_consumer
        self.core.enter(connection.number, self.now, hello.lanes)

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        number = connection.number
        if connection.cursor is not None:
            cells = connection.cursor.cells()
            found = self.core.leave(number, cells, self.now, _cause(connection))
            self._inquest.ended(number, connection.worker, found)
            connection.cursor.close()
            connection.cursor = None
        if connection.sent is not None:
            self.clients.left(connection.sent)
        self.blocked.pop(number, None)
        self.waits.ended(number, self.now)
        self.core.caller_left(number)

    # --- frames -------------------------------------------------------------------------------

    def from_producer(
        self, connection: Connection, kind: int, count: int, argument: int, body: memoryview
    ) -> None:
        """Take a frame of a producer."""
        if kind == _PUT:
            (size,) = SIZE.unpack_from(body)
            if not size:
                self._put_plain(connection, count, argument, bytes(body[_SIZE:]))
                return
            chunk, options = bytes(body[_SIZE + size :]), bytes(body[_SIZE : _SIZE + size])
            self._put(connection, (count, argument, chunk, options, decode_options(options)))
        elif kind == Kind.CANCEL:
            self.core.cancel(connection.number, argument)
        else:
            raise FrameError(f"a producer cannot send a frame of kind {kind}")

    def from_consumer(
        self, connection: Connection, kind: int, count: int, argument: int, body: memoryview
    ) -> None:
        """Take a frame of a consumer."""
        core, number = self.core, connection.number
        if kind == Kind.ACK:
            for chunk, done in PAIR.iter_unpack(body):
                core.ack(number, chunk, done, self.now)
        elif kind == Kind.CREDIT:
            core.window(number, argument, self.now, count)
        elif kind == Kind.NACK:
            nack = _decode_nack(body)
            if nack.fatal:
                self._given_back(number, argument, count)
            who = connection.worker, connection.pid
            core.nack(number, argument, count, nack, self.now, *who)
        elif kind == Kind.REPLY:
            reply = _decode_reply(body)
            if reply.fatal:
                self._given_back(number, argument, 0)
            core.reply(number, argument, reply, self.now)
        elif kind == Kind.PROGRESS:
            core.progress(number, argument, self.now)
        else:
            raise FrameError(f"a consumer cannot send a frame of kind {kind}")
        if connection.out.waits:  # it has taken something, perhaps
            self._dirty[number] = connection

    def _given_back(self, consumer: int, chunk_id: int, index: int) -> None:
        chunk = self.core.leased_chunk(consumer, chunk_id)
        if chunk is not None:
            self._inquest.gave_back(consumer, chunk, index)

    # --- putting ------------------------------------------------------------------------------

    def _put_plain(self, connection: Connection, count: int, sequence: int, chunk: bytes) -> None:
        """Take what has no options, by the short way if nothing is in it."""
        sent, limits, size = connection.sent, self.welcome, len(chunk)
        assert sent is not None
        if (
            self._short
            and sequence > sent.last
            and 1 <= count <= limits.max_count
            and size <= limits.max_body
            and not self.blocked
            and not self.core.intake.shut
            and self.core.books.fits(count, size)
        ):
            if count > 1 or not self._hand_over(chunk):
                self.core.put(count, chunk, self.now)
            sent.last = sequence
            connection.confirm(sequence)
            self._dirty[connection.number] = connection
        else:
            self._put(connection, (count, sequence, chunk, b"", None))

    def _hand_over(self, body: bytes) -> bool:
        """Send a lone message on at once, if somebody waits for it: all else can be done after.

        A consumer that cannot be sent to is dealt with at the end of the pass, when it is flushed.
        """
        consumer = self.core.delivery.taker(self.now)
        if not consumer:
            return False
        connection = self._connections[consumer]
        connection.deliver(self.core.hand_over(consumer, body, self.now), self.now)
        self._dirty[consumer] = connection
        try:
            connection.out.flush()
        except (OSError, FrameError):
            pass
        return True

    def _put(self, connection: Connection, put: Parked) -> None:
        sequence = put[1]
        self._check(put)
        sent = connection.sent
        assert sent is not None
        if sequence <= sent.last:  # sent again after a reconnection
            self._again(connection, sent, sequence)
        elif self.blocked and self.core.definition.overflow == "block":
            self._park(connection, put)  # those who wait longer come first
        else:
            self._try(connection, put)

    def _check(self, put: Parked) -> None:
        count, _, chunk, options, extra = put
        limits = self.welcome
        if not 1 <= count <= limits.max_count or not len(chunk) <= limits.max_body:
            raise FrameError(
                f"a chunk of {count} messages and {len(chunk)} bytes; {self.name!r} takes "
                f"{limits.max_count} messages and {limits.max_body} bytes at once"
            )
        if extra is not None:
            if len(options) > MAX_OPTIONS:
                raise FrameError(f"options of {len(options)} bytes; at most {MAX_OPTIONS}")
            if count > 1 and (extra.dedupe or extra.reply):
                raise FrameError("a call, or what has a key for dedupe, is a chunk of its own")

    def _try(self, connection: Connection, put: Parked) -> bool:
        """Take a put in, refuse it, or park it and return False."""
        count, sequence, chunk, options, extra = put
        if self.keeping is not None and self.keeping.refuses:
            verdict = "store"
        else:
            verdict = self.core.intake.admits(count, len(chunk) + len(options), extra, self.now)
        if verdict == WAIT:
            self._park(connection, put)
            return False
        if verdict:
            self.core.counts.refused += 1
            if not (verdict == DUPLICATE and self._is_double(connection, sequence, extra)):
                self._reject(connection, sequence, verdict)
            return True
        taken = self.core.put(count, chunk, self.now, options, extra, connection.number)
        sent = connection.sent
        assert sent is not None
        sent.last = sequence
        if self.keeping is None:
            connection.confirm(sequence)
            self._dirty[connection.number] = connection
        else:
            self.keeping.put(connection, sequence, taken)
        return True

    def _is_double(self, connection: Connection, sequence: int, extra: Options | None) -> bool:
        """Whether it is decided with the put that it is a duplicate of."""
        if self.keeping is None or extra is None:
            return False
        return self.keeping.double(connection, sequence, extra.dedupe)

    def _park(self, connection: Connection, put: Parked) -> None:
        connection.parked = put
        self.blocked[connection.number] = connection
        self.waits.begun(connection.number, self.now)

    def _again(self, connection: Connection, sent: Sent, sequence: int) -> None:
        reason = sent.gaps.get(sequence)
        if reason is not None:
            self._reject(connection, sequence, reason)
        elif self.keeping is not None:
            self.keeping.put(connection, sequence, None)
        else:
            connection.confirm(sequence)
            self._dirty[connection.number] = connection

    def _reject(self, connection: Connection, sequence: int, reason: str) -> None:
        trouble = "" if self.keeping is None else self.keeping.trouble
        connection.reject(sequence, reason, why(reason, self.core, trouble))
        self._dirty[connection.number] = connection

    # --- a pass ---------------------------------------------------------------------------------

    def unblock(self) -> list[Connection]:
        """Take parked puts as far as they fit now; return whose frames can be read on."""
        freed: list[Connection] = []
        while self.blocked:
            number, connection = next(iter(self.blocked.items()))
            put, connection.parked = connection.parked, None
            assert put is not None
            del self.blocked[number]
            if not self._try(connection, put):
                self.blocked.move_to_end(number, last=False)
                break
            self.waits.ended(number, self.now)
            freed.append(connection)
        return freed

    def serve(self) -> None:
        """Keep what has to be kept, deliver what can be, and say when there is more to do."""
        core, now, dirty = self.core, self.now, self._dirty
        if self.keeping is not None:
            self.keeping.commit(core, dirty, now)
        for consumer, chunk in core.deliveries(now):
            connection = self._connections[consumer]
            connection.deliver(chunk, now)
            dirty[consumer] = connection
        for answer in core.answers():
            caller = self._connections.get(answer.caller)
            if caller is not None:
                caller.send(Kind.RESULT, _encode(answer.reply), answer.correlation)
                dirty[answer.caller] = caller
        due = core.next_deadline()
        self.due = due if self.keeping is None else min(due, self.keeping.due)

    def tick(self) -> None:
        """Do what is due."""
        core = self.core
        core.expire(self.now)
        for number in core.looks_due(self.now):
            connection = self._connections[number]
            cursor, who = connection.cursor, (connection.worker, connection.pid)
            assert cursor is not None
            core.looked_at(number, cursor.cells(), self.now, partial(_fence, cursor), *who)


def _fence(cursor: CursorReader) -> Sequence[Cursor]:
    cursor.fence()
    return cursor.cells()


def welcome(definition: QueueDefinition) -> Welcome:
    """Say what a client has to know of a queue."""
    most = MAX_COUNT if definition.fair_by is None else MAX_CHUNK
    return Welcome(
        capacity=definition.capacity,
        max_bytes=definition.max_bytes,
        max_body=min(definition.max_bytes, MAX_BODY),
        max_count=min(definition.capacity, most),
        overflow=definition.overflow,
        fair_by=definition.fair_by,
        dedupe_by=definition.dedupe_by,
        serializer=definition.serializer,
        ttl=definition.ttl,
        ack=definition.ack,
        lease=definition.lease,
        priorities=definition.priorities,
        max_attempts=definition.max_attempts,
        durable=definition.durable,
        ring=True,
        epoch=0 if definition.durable else secrets.randbits(32),
    )


def _cause(connection: Connection) -> Cause:
    """Say why a consumer is gone, should it have ended over a message."""
    name = f"{connection.worker}, process {connection.pid}".removeprefix(", ")
    reason, end = "crashed", "ended"
    if connection.over_memory:
        reason, end = MEMORY, "was ended over its memory_hard"
    error = f"its consumer ({name}) {end} while handling it"
    return Cause(reason, error, worker=connection.worker, process=connection.pid)
