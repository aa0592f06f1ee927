"""The broker: a process between producers and consumers, each with a socket of its own.

No worker holds a lock or an index that another one needs: a worker that is killed takes nothing
with it but its own connection, whose end tells the broker. Chunks pass through unopened.

    producer ──PUT──► broker ──DELIVER──► consumer      back pressure: a chunk that does not fit
             ◄─CONFIRM─       ◄──ACK, CREDIT──          stays in its producer's connection, which is
                                                        not read until there is room

Memory queues: what was confirmed and not yet acknowledged is lost when the *broker* dies (its
supervisor starts another). What was not confirmed is sent again by its producer. The end of any
producer or consumer, at any moment, loses nothing that was confirmed.
"""

import select
import socket
import struct
import time
from collections import OrderedDict
from typing import Any

import msgspec

from supervisor.definition import QueueDefinition
from supervisor.link import WorkerLink
from workers.queues import payload
from workers.queues.connection import FRAME_COST, Connection, Role
from workers.queues.core import QueueCore
from workers.queues.cursor import CursorReader
from workers.queues.frames import MAX_BODY, PAIR, FrameError, Hello, Kind

#: Connections accepted in one pass.
MAX_ACCEPTS = 64
#: Producers whose last sequence number is remembered after they have gone.
MAX_REMEMBERED = 10_000
#: Seconds without accepting after descriptors ran out.
ACCEPT_PAUSE = 0.1
#: Connections at most; another one is told so, and closed.
MAX_CONNECTIONS = 4096
#: Seconds in which a connection has to say who it is.
HANDSHAKE_SECONDS = 5.0
#: Characters of a client's name, and of the reason of a dead letter.
MAX_CLIENT, MAX_REASON = 64, 1000
#: What a peer can cause by what it sends, or by going: it ends its connection, and nothing else.
PEER_ERRORS = (
    FrameError,
    msgspec.DecodeError,
    ValueError,
    RecursionError,
    struct.error,
    OSError,
)
_PEER = struct.Struct("3i")


class Broker:
    """Serves queues on a listening socket until it is asked to stop.

    Args:
        queues: the queues.
        listener: the listening socket.
        stops: descriptors that become readable when it may have been asked to stop.

    """

    def __init__(
        self, queues: list[QueueDefinition], listener: socket.socket, stops: tuple[int, ...]
    ) -> None:
        self._queues = {
            q.name: QueueCore(q.capacity, q.max_bytes, q.max_attempts, payload.split, payload.join)
            for q in queues
        }
        self._listener, self._stops = listener, stops
        listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        for stop in stops:
            self._epoll.register(stop, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._greeting: OrderedDict[int, float] = OrderedDict()  # no HELLO yet; until when
        self._paused = 0.0  # not accepting until then
        self._blocked: dict[str, OrderedDict[int, None]] = {q.name: OrderedDict() for q in queues}
        self._sequences: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._touched: set[str] = set()  # queues that may have something to deliver, or room
        self._dirty: dict[int, Connection] = {}  # connections with something to send

    def run(self, stopping: Any) -> None:
        """Serve until ``stopping()`` is true when a stop descriptor is readable."""
        while True:
            for fd, mask in self._epoll.poll(self._expire()):
                connection = self._connections.get(fd)
                if connection is not None:
                    self._on_connection(connection, mask)
                elif fd == self._listener.fileno():
                    self._accept()
                elif fd in self._stops and stopping():
                    return
            while self._touched or self._dirty:  # again, if flushing found a consumer gone
                self._serve_touched()
                self._flush_dirty()

    def _expire(self) -> float | None:
        """Do what is due by now; return the seconds until something will be."""
        if not self._greeting and not self._paused:
            return None
        now = time.monotonic()
        if self._paused and self._paused <= now:
            self._paused = 0.0
            self._epoll.modify(self._listener, select.EPOLLIN)
        while self._greeting:
            fd, until = next(iter(self._greeting.items()))
            if until > now:
                break
            self._close(self._connections[fd], FrameError("no HELLO came in time"))
        due = [self._paused] if self._paused else []
        due += [next(iter(self._greeting.values()))] if self._greeting else []
        return max(0.0, min(due) - now) if due else None

    # --- connections ----------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptors: leave them waiting for a moment, do not spin
                self._epoll.modify(self._listener, 0)
                self._paused = time.monotonic() + ACCEPT_PAUSE
                return
            sock.setblocking(False)
            connection = Connection(sock, _pid_of(sock))
            if len(self._connections) >= MAX_CONNECTIONS:
                connection.refuse(f"the broker has {MAX_CONNECTIONS} connections, its limit")
                connection.close()
                continue
            self._connections[sock.fileno()] = connection
            self._greeting[sock.fileno()] = time.monotonic() + HANDSHAKE_SECONDS
            self._epoll.register(sock, select.EPOLLIN)

    def _on_connection(self, connection: Connection, mask: int) -> None:
        try:
            if mask & select.EPOLLOUT:
                connection.flush()
            if mask & ~select.EPOLLOUT and not connection.parked:
                connection.receive()
                self._read_frames(connection)
        except PEER_ERRORS as error:
            self._close(connection, error)
            return
        if connection.parked and mask & (select.EPOLLHUP | select.EPOLLERR):
            self._close(connection, None)  # its chunk was never taken, nor confirmed
        else:
            self._watch(connection)

    def _read_frames(self, connection: Connection) -> None:
        while not connection.parked:
            found = connection.frames.next()
            if found is None:
                return
            kind, count, argument, body = found
            if connection.role is None:
                self._hello(connection, kind, body)
            else:
                self._frame(connection, kind, count, argument, body)

    def _watch(self, connection: Connection) -> None:
        wanted = 0 if connection.parked else select.EPOLLIN
        if connection.wants_write:
            wanted |= select.EPOLLOUT
        if wanted != connection.watched:
            connection.watched = wanted
            self._epoll.modify(connection.socket, wanted)

    def _close(self, connection: Connection, error: Exception | None) -> None:
        fd = connection.socket.fileno()
        if self._connections.pop(fd, None) is None:
            return
        if error is not None and not isinstance(error, OSError):
            connection.refuse(str(error))
        self._greeting.pop(fd, None)
        self._epoll.unregister(fd)
        if connection.role is Role.CONSUMER:
            assert connection.cursor is not None
            self._queues[connection.queue].leave(fd, connection.cursor.read())
            connection.cursor.close()
            self._touched.add(connection.queue)
        if connection.parked:
            del self._blocked[connection.queue][fd]
        connection.close()

    # --- frames ---------------------------------------------------------------------------------

    def _hello(self, connection: Connection, kind: int, body: memoryview) -> None:
        if kind != Kind.HELLO:
            raise FrameError("the first frame has to be HELLO")
        hello = msgspec.msgpack.decode(body, type=Hello)
        role = Role(hello.role)
        queue = self._queues.get(hello.queue)
        if role is not Role.OBSERVER and queue is None:
            known = ", ".join(self._queues)
            raise FrameError(f"there is no queue {hello.queue!r}; there are: {known}")
        if len(hello.client) > MAX_CLIENT:
            raise FrameError(f"a name of {len(hello.client)} characters; at most {MAX_CLIENT}")
        fd = connection.socket.fileno()
        if role is Role.CONSUMER:
            assert queue is not None
            connection.cursor = CursorReader(connection.take_descriptor())
            connection.max_unread += queue.max_bytes + FRAME_COST * 2 * queue.capacity
            queue.enter(fd)
        connection.role, connection.queue, connection.client = role, hello.queue, hello.client
        del self._greeting[fd]
        limits = (queue.capacity, min(queue.max_bytes, MAX_BODY)) if queue is not None else (0, 0)
        connection.send(Kind.WELCOME, PAIR.pack(*limits))
        self._dirty[fd] = connection

    def _frame(
        self, connection: Connection, kind: int, count: int, argument: int, body: memoryview
    ) -> None:
        queue = self._queues.get(connection.queue)
        fd = connection.socket.fileno()
        match connection.role, kind:
            case Role.PRODUCER, Kind.PUT:
                self._put(connection, count, argument, bytes(body))
            case Role.CONSUMER, Kind.ACK:
                assert queue is not None
                for chunk, done in PAIR.iter_unpack(body):
                    queue.ack(fd, chunk, done)
                self._touched.add(connection.queue)
            case Role.CONSUMER, Kind.CREDIT:
                assert queue is not None
                queue.grant(fd, argument)
                self._touched.add(connection.queue)
            case Role.CONSUMER, Kind.REJECT:
                assert queue is not None
                reason = bytes(body).decode(errors="replace")[:MAX_REASON]
                queue.reject(fd, argument, count, reason)
            case Role.OBSERVER, Kind.STAT:
                connection.send(Kind.STATS, msgspec.msgpack.encode(self.statistics()))
                self._dirty[fd] = connection
            case role, other:
                raise FrameError(f"a {role} cannot send a frame of kind {other}")

    # --- putting --------------------------------------------------------------------------------

    def _put(self, connection: Connection, count: int, sequence: int, body: bytes) -> None:
        queue = self._queues[connection.queue]
        if not 1 <= count <= queue.capacity or len(body) > min(queue.max_bytes, MAX_BODY):
            raise FrameError(
                f"a chunk of {count} messages and {len(body)} bytes can never fit: "
                f"the queue takes {queue.capacity} messages and {queue.max_bytes} bytes, "
                f"and a chunk {MAX_BODY}"
            )
        if sequence <= self._sequences.get((connection.queue, connection.client), 0):
            connection.confirm(sequence)  # sent again after a reconnection: we have it
            self._dirty[connection.socket.fileno()] = connection
        elif not self._blocked[connection.queue] and queue.fits(count, len(body)):
            self._take(connection, count, sequence, body)
        else:
            connection.parked = (count, sequence, body)
            self._blocked[connection.queue][connection.socket.fileno()] = None

    def _take(self, connection: Connection, count: int, sequence: int, body: bytes) -> None:
        self._queues[connection.queue].put(count, body)
        key = (connection.queue, connection.client)
        self._sequences[key] = sequence
        self._sequences.move_to_end(key)
        if len(self._sequences) > MAX_REMEMBERED:
            self._sequences.popitem(last=False)
        connection.confirm(sequence)
        self._dirty[connection.socket.fileno()] = connection
        self._touched.add(connection.queue)

    def _unblock(self, name: str) -> None:
        """Take parked chunks as far as they fit now, the longest parked first."""
        queue, blocked = self._queues[name], self._blocked[name]
        while blocked:
            connection = self._connections[next(iter(blocked))]
            assert connection.parked is not None
            count, sequence, body = connection.parked
            if not queue.fits(count, len(body)):
                return
            blocked.popitem(last=False)
            connection.parked = None
            self._take(connection, count, sequence, body)
            try:
                self._read_frames(connection)  # what it had sent behind it
            except PEER_ERRORS as error:
                self._close(connection, error)
            else:
                self._watch(connection)

    # --- delivering -----------------------------------------------------------------------------

    def _serve_touched(self) -> None:
        while self._touched:
            name = self._touched.pop()
            self._unblock(name)
            for consumer, chunk in self._queues[name].deliveries():
                connection = self._connections[consumer]
                connection.deliver(chunk)
                self._dirty[consumer] = connection

    def _flush_dirty(self) -> None:
        """Send what this pass has produced: several frames to one worker are one call."""
        dirty, self._dirty = self._dirty, {}
        for fd, connection in dirty.items():
            if self._connections.get(fd) is not connection:
                continue
            try:
                connection.flush()
            except PEER_ERRORS as error:
                self._close(connection, error)
            else:
                self._watch(connection)

    def statistics(self) -> list[dict[str, int | str]]:
        """What each queue holds and has done; in messages, ``bytes`` in bytes."""
        return [
            {
                "name": name,
                "depth": queue.depth,
                "capacity": queue.capacity,
                "bytes": queue.bytes,
                "bytes_capacity": queue.max_bytes,
                "leased": queue.leased,
                "consumers": queue.consumers,
                "blocked": len(self._blocked[name]),
                "accepted_total": queue.counts.accepted,
                "settled_total": queue.counts.settled,
                "redelivered_total": queue.counts.redelivered,
                "dead": len(queue.dead),
                "dead_total": queue.counts.dead,
            }
            for name, queue in self._queues.items()
        ]


def _pid_of(sock: socket.socket) -> int:
    peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(peer)[0])


def main(link: WorkerLink, argument: bytes, fds: dict[str, int]) -> None:
    """Run the broker: a process of the runtime."""
    queues = msgspec.msgpack.decode(argument, type=list[QueueDefinition])
    listener = socket.socket(fileno=fds["listener"])
    link.stop_on_signal()
    broker = Broker(queues, listener, (link.fileno(), link.wakeup_fd))
    link.ready()
    broker.run(lambda: link.stopping)
