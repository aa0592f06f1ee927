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
from collections import OrderedDict
from typing import Any

import msgspec

from supervisor.definition import QueueDefinition
from supervisor.link import WorkerLink
from workers.queues import payload
from workers.queues.connection import Connection, Role
from workers.queues.core import QueueCore
from workers.queues.cursor import CursorReader
from workers.queues.frames import PAIR, FrameError, Hello, Kind

#: Connections accepted in one pass.
MAX_ACCEPTS = 64
#: Producers whose last sequence number is remembered after they have gone.
MAX_REMEMBERED = 10_000
#: Seconds without accepting after descriptors ran out.
ACCEPT_PAUSE_MS = 100
_PEER = struct.Struct("3i")


class Broker:
    """Serves queues on a listening socket until its link says stop."""

    def __init__(self, queues: list[QueueDefinition], listener: socket.socket, stop: int) -> None:
        self._queues = {
            q.name: QueueCore(q.capacity, q.max_bytes, q.max_attempts, payload.split, payload.join)
            for q in queues
        }
        self._listener, self._stop_fd = listener, stop
        listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._epoll.register(stop, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._blocked: dict[str, OrderedDict[int, None]] = {q.name: OrderedDict() for q in queues}
        self._sequences: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._touched: set[str] = set()  # queues that may have something to deliver, or room
        self._dirty: dict[int, Connection] = {}  # connections with something to send

    def run(self, stopping: Any) -> None:
        """Serve until ``stopping()`` is true when the stop descriptor is readable."""
        timeout = None
        while True:
            events = self._epoll.poll(timeout)
            if timeout is not None:
                timeout = None
                self._epoll.modify(self._listener, select.EPOLLIN)
            for fd, mask in events:
                connection = self._connections.get(fd)
                if connection is not None:
                    self._on_connection(connection, mask)
                elif fd == self._listener.fileno():
                    timeout = self._accept()
                elif fd == self._stop_fd and stopping():
                    return
            self._serve_touched()
            self._flush_dirty()

    # --- connections ----------------------------------------------------------------------------

    def _accept(self) -> float | None:
        for _ in range(MAX_ACCEPTS):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return None
            except OSError:  # no descriptors: leave them waiting for a moment, do not spin
                self._epoll.modify(self._listener, 0)
                return ACCEPT_PAUSE_MS / 1000
            sock.setblocking(False)
            connection = Connection(sock, _pid_of(sock))
            self._connections[sock.fileno()] = connection
            self._epoll.register(sock, select.EPOLLIN)
        return None

    def _on_connection(self, connection: Connection, mask: int) -> None:
        try:
            if mask & select.EPOLLOUT:
                connection.flush()
            if mask & ~select.EPOLLOUT and not connection.parked:
                connection.receive()
                self._read_frames(connection)
        except (FrameError, msgspec.DecodeError, ValueError, OSError) as error:
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
        if isinstance(error, FrameError | ValueError):
            connection.refuse(str(error))
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
        connection.role, connection.queue, connection.client = role, hello.queue, hello.client
        if role is Role.CONSUMER:
            assert queue is not None
            connection.cursor = CursorReader(connection.take_descriptor())
            queue.enter(connection.socket.fileno())
        connection.send(Kind.WELCOME, argument=queue.capacity if queue is not None else 0)
        self._dirty[connection.socket.fileno()] = connection

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
                queue.reject(fd, argument, count, bytes(body).decode(errors="replace"))
            case Role.OBSERVER, Kind.STAT:
                connection.send(Kind.STATS, msgspec.msgpack.encode(self.statistics()))
                self._dirty[fd] = connection
            case role, other:
                raise FrameError(f"a {role} cannot send a frame of kind {other}")

    # --- putting --------------------------------------------------------------------------------

    def _put(self, connection: Connection, count: int, sequence: int, body: bytes) -> None:
        queue = self._queues[connection.queue]
        if count < 1 or count > queue.capacity or len(body) > queue.max_bytes:
            raise FrameError(
                f"a chunk of {count} messages and {len(body)} bytes can never fit: "
                f"the queue takes {queue.capacity} messages and {queue.max_bytes} bytes"
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
            except (FrameError, msgspec.DecodeError) as error:
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
            except OSError:
                self._close(connection, None)
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
    broker = Broker(queues, listener, link.fileno())
    link.ready()
    broker.run(lambda: link.stopping)
