"""The broker: a process between producers and consumers, each with a socket of its own.

No worker holds a lock or an index that another one needs: a worker that is killed takes nothing
with it but its own connection, whose end tells the broker. Chunks pass through unopened.

    producer ──PUT──► broker ──DELIVER──► consumer      back pressure: a chunk that does not fit
             ◄─CONFIRM─       ◄──ACK, CREDIT──          stays in its producer's connection, which is
                                                        not read until there is room

A pass: read what came, take in what was parked, keep what is durable, deliver, send. A lone message
that a consumer waits for is sent on as soon as it was read.

Memory queues: what was confirmed and not yet acknowledged is lost when the *broker* dies (its
supervisor starts another). What was not confirmed is sent again by its producer. The end of any
producer or consumer, at any moment, loses nothing that was confirmed.
"""

import itertools
import math
import random
import select
import socket
import struct
import time
from collections.abc import Callable

import msgspec

from supervisor.definition import QueueDefinition
from supervisor.link import LONGEST_WAIT, WorkerLink
from workers.queues import payload
from workers.queues.broker.commands import Commands
from workers.queues.broker.connection import Connection, Role
from workers.queues.broker.greeter import Greeter
from workers.queues.broker.handover import Handover
from workers.queues.broker.host import QueueHost
from workers.queues.broker.inquest import Tell, nobody, teller
from workers.queues.broker.keeping import Keeping, keeping_of
from workers.queues.broker.standing import Standing
from workers.queues.broker.unfinished import Unfinished
from workers.queues.core.queue import QueueCore
from workers.queues.frames import PROTOCOL, Command, FrameError, Hello, Kind, Welcome

#: Characters of a client's name.
MAX_CLIENT = 64
#: Seconds between two looks at the stores.
IDLE = 1.0
#: Receptions of what a peer had said before it ended: more than its socket holds.
MAX_LAST_WORDS = 16
#: What a peer can cause by what it sends, or by going: it ends its connection, and nothing else.
PEER_ERRORS = (
    FrameError,
    msgspec.DecodeError,
    ValueError,
    RecursionError,
    struct.error,
    OSError,
)


class Broker:
    """Serves queues on a listening socket until it is asked to stop.

    Args:
        queues: the queues.
        listener: the listening socket.
        stops: descriptors that become readable when it may have been asked to stop.
        keepings: the stores of the durable queues, by name.
        tell: told what a consumer was handling when it ended.
        standing: what the operator has said of the queues.

    """

    def __init__(
        self,
        queues: list[QueueDefinition],
        listener: socket.socket,
        stops: tuple[int, ...],
        keepings: dict[str, Keeping] | None = None,
        tell: Tell = nobody,
        standing: Standing | None = None,
    ) -> None:
        # Seconds since 1970 that never go back while we live.
        self._epoch = time.time() - time.monotonic()
        self._epoll = select.epoll()
        self._stops = stops
        for stop in stops:
            self._epoll.register(stop, select.EPOLLIN)
        self._greeter = Greeter(listener, self._epoll)
        self._by_fd: dict[int, Connection] = {}
        self._connections: dict[int, Connection] = {}  # by number
        self._numbers = itertools.count(1)
        self._dirty: dict[int, Connection] = {}  # connections with something to send, by number
        self._hosts = {q.name: self._host(q, (keepings or {}).get(q.name), tell) for q in queues}
        self._kept = [host for host in self._hosts.values() if host.keeping is not None]
        self._touched: dict[str, QueueHost] = {}  # may have something to deliver, or room
        self._due = math.inf  # the first of the hosts'
        self._chores_at = math.inf
        self._handover = Handover()
        self._unfinished = Unfinished()
        self._touched.update(self._hosts)
        self._commands = Commands(
            self._hosts, self._connections, self._touched, standing or Standing()
        )

    def _host(self, definition: QueueDefinition, keeping: Keeping | None, tell: Tell) -> QueueHost:
        core = QueueCore(definition, payload.split, payload.join, random.random)
        if keeping is not None:
            keeping.restore(core, time.monotonic() + self._epoch)
        return QueueHost(core, keeping, self._connections, self._dirty, tell)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Serve until ``stopping()`` is true when a stop descriptor is readable."""
        self._pass(self._tick())
        while True:
            ready = self._epoll.poll(self._timeout())
            now = self._tick()
            for fd, mask in ready:
                connection = self._by_fd.get(fd)
                if connection is not None:
                    self._on_connection(connection, mask)
                elif fd == self._greeter.fd:
                    for sock, pid in self._greeter.accept(len(self._by_fd)):
                        self._enter(sock, pid)
                elif fd in self._stops and stopping():
                    self._close_stores()
                    return
            self._pass(now)

    # --- time -----------------------------------------------------------------------------------

    def _tick(self) -> float:
        """Tell every queue what time it is."""
        now = time.monotonic() + self._epoch
        for host in self._hosts.values():
            host.now = now
        return now

    def _timeout(self) -> float | None:
        due = min(self._due, self._chores_at) - self._epoch
        due = min(due, self._greeter.due, self._unfinished.due)
        if due == math.inf:
            return None
        return min(max(0.0, due - time.monotonic()), LONGEST_WAIT)

    def _pass(self, now: float) -> None:
        """Do what is due, and what the frames that came have made possible."""
        if self._greeter.due != math.inf:
            for fd in self._greeter.overdue():
                self._close(self._by_fd[fd], FrameError("no HELLO came in time"))
        if self._unfinished.due <= now - self._epoch:
            for number in self._unfinished.overdue(now - self._epoch):
                self._cut(self._connections[number])
        if self._due <= now:
            for host in self._hosts.values():
                if host.due <= now:
                    host.tick()
                    self._touched[host.name] = host
        if self._touched and self._chores_at == math.inf and self._kept:
            self._chores_at = now + IDLE
        while self._touched or self._dirty:  # again, if flushing found a consumer gone
            self._serve_touched()
            self._flush_dirty()
        if self._chores_at <= now:
            self._chores_at = now + IDLE if self._chores() else math.inf

    def _chores(self) -> bool:
        """Tend the stores; tell whether they need it again though nothing happens meanwhile.

        So does one that has failed, or holds messages: nothing else tells that its file is gone.
        """
        again = False
        for host in self._kept:
            assert host.keeping is not None
            if host.keeping.tend(host.core, host.now):
                self._touched[host.name] = host
            again |= bool(host.keeping.trouble or host.core.books.depth)
        return again

    # --- connections ----------------------------------------------------------------------------

    def _enter(self, sock: socket.socket, pid: int) -> None:
        connection = Connection(sock, pid, next(self._numbers))
        self._by_fd[sock.fileno()] = connection
        self._connections[connection.number] = connection
        self._epoll.register(sock, select.EPOLLIN)

    def _on_connection(self, connection: Connection, mask: int) -> None:
        try:
            if mask & select.EPOLLOUT:
                connection.flush()
            if mask & ~select.EPOLLOUT and not connection.parked:
                connection.receive()
                self._read_frames(connection)
        except PEER_ERRORS as error:
            self._broken(connection, error)
            return
        if connection.parked and mask & (select.EPOLLHUP | select.EPOLLERR):
            self._close(connection, None)  # its chunk was never taken, nor confirmed
        elif connection.parked or connection.watched != select.EPOLLIN:
            self._watch(connection)

    def _read_frames(self, connection: Connection) -> None:
        frames = connection.frames
        while not connection.parked:
            found = frames.next()
            if found is None:
                break
            kind, count, argument, body = found
            if connection.handler is None:
                self._hello(connection, kind, body)
            else:
                connection.handler(connection, kind, count, argument, body)
        if frames.begun and not connection.parked and connection.role is not Role.CONSUMER:
            self._unfinished.heard(connection.number, time.monotonic())
        elif self._unfinished.since:
            self._unfinished.ended(connection.number)
        if connection.host is not None:
            self._touched[connection.host.name] = connection.host

    def _watch(self, connection: Connection) -> None:
        wanted = 0 if connection.parked else select.EPOLLIN
        if connection.wants_write:
            wanted |= select.EPOLLOUT
        if wanted != connection.watched:
            connection.watched = wanted
            self._epoll.modify(connection.socket, wanted)

    def _broken(self, connection: Connection, error: Exception) -> None:
        """Close what a peer has broken; take what it had said before, if it has ended.

        That may be told by a send that fails, first. Its cursor counts on what it said: a message
        that it gave back is done, as far as the cursor says.
        """
        if isinstance(error, OSError):
            self._hear_out(connection)
        self._close(connection, error)

    def _hear_out(self, connection: Connection) -> None:
        try:
            for _ in range(MAX_LAST_WORDS):
                if connection.parked:
                    break
                connection.receive()  # raises at the end
                self._read_frames(connection)
        except PEER_ERRORS:
            pass

    def _cut(self, connection: Connection) -> None:
        """Close who does not go on with a frame; no word: it would be taken for a refusal."""
        if connection.host is not None:
            connection.host.cut += 1
        self._close(connection, None)

    def _close(self, connection: Connection, error: Exception | None) -> None:
        fd = connection.socket.fileno()
        if self._by_fd.pop(fd, None) is None:
            return
        del self._connections[connection.number]
        if error is not None and not isinstance(error, OSError):
            connection.refuse(str(error))
        self._greeter.greeted(fd)
        self._unfinished.ended(connection.number)
        self._epoll.unregister(fd)
        if connection.host is not None:
            connection.host.gone(connection)
            self._touched[connection.host.name] = connection.host
        connection.close()

    # --- frames ---------------------------------------------------------------------------------

    def _hello(self, connection: Connection, kind: int, body: memoryview) -> None:
        if kind != Kind.HELLO:
            raise FrameError("the first frame has to be HELLO")
        hello = msgspec.msgpack.decode(body, type=Hello)
        if hello.protocol != PROTOCOL:
            raise FrameError(f"protocol {hello.protocol}; this broker speaks {PROTOCOL}")
        role = Role(hello.role)
        host = self._hosts.get(hello.queue)
        if role is not Role.OBSERVER and host is None:
            known = ", ".join(self._hosts)
            raise FrameError(f"there is no queue {hello.queue!r}; there are: {known}")
        if len(hello.client) > MAX_CLIENT:
            raise FrameError(f"a name of {len(hello.client)} characters; at most {MAX_CLIENT}")
        limits = Welcome()
        if host is None or role is Role.OBSERVER:
            connection.handler = self._manage
        else:
            (host.consumer if role is Role.CONSUMER else host.producer)(connection, hello)
            connection.host = host
            limits = host.welcome
        connection.role = role
        self._greeter.greeted(connection.socket.fileno())
        connection.send(Kind.WELCOME, msgspec.msgpack.encode(limits))
        self._dirty[connection.number] = connection

    def _manage(
        self, connection: Connection, kind: int, _count: int, argument: int, body: memoryview
    ) -> None:
        """Take a command of an observer."""
        if kind != Kind.MANAGE:
            raise FrameError(f"an observer cannot send a frame of kind {kind}")
        command = msgspec.msgpack.decode(body, type=Command)
        answer = msgspec.msgpack.encode(self._commands.do(command))
        connection.send(Kind.MANAGED, answer, argument)
        self._dirty[connection.number] = connection

    # --- delivering -----------------------------------------------------------------------------

    def _serve_touched(self) -> None:
        while self._touched:
            _, host = self._touched.popitem()
            while host.blocked and (freed := host.unblock()):
                for connection in freed:
                    self._read_on(connection)  # what it had sent behind it
            before = host.due
            host.serve()
            if host.due != before:
                self._due = min(one.due for one in self._hosts.values())

    def _read_on(self, connection: Connection) -> None:
        try:
            self._read_frames(connection)
        except PEER_ERRORS as error:
            self._close(connection, error)
        else:
            self._watch(connection)

    def _flush_dirty(self) -> None:
        """Send what this pass has produced: several frames to one worker are one call."""
        dirty, gives_way = list(self._dirty.values()), False
        dirty.reverse()  # those that were delivered to come first: somebody waits for it
        self._dirty.clear()
        for connection in dirty:
            if connection.number not in self._connections:
                continue
            try:
                connection.flush()
                if connection.role is Role.CONSUMER and not gives_way:
                    gives_way = True
                    self._handover.give_way()
            except PEER_ERRORS as error:
                self._broken(connection, error)
            else:
                if connection.out.backlog or connection.watched != select.EPOLLIN:
                    self._watch(connection)

    def _close_stores(self) -> None:
        for host in self._hosts.values():
            if host.keeping is not None:
                host.keeping.close(host.core, self._dirty)
        self._flush_dirty()


class Argument(msgspec.Struct, frozen=True):
    """What a broker is told. ``state``: the folder of the durable queues."""

    queues: list[QueueDefinition]
    state: str = ""


def main(link: WorkerLink, argument: bytes, fds: dict[str, int]) -> None:
    """Run the broker: a process of the runtime."""
    told = msgspec.msgpack.decode(argument, type=Argument)
    listener = socket.socket(fileno=fds["listener"])
    link.stop_on_signal()
    keepings = {
        queue.name: keeping_of(told.state, queue.name, queue.durable)
        for queue in told.queues
        if queue.durable
    }
    stops = (link.fileno(), link.wakeup_fd)
    tell = teller(socket.socket(fileno=fds["deaths"])) if "deaths" in fds else nobody
    broker = Broker(
        told.queues, listener, stops, keepings, tell=tell, standing=Standing(fds.get("standing"))
    )
    link.ready()
    broker.run(lambda: link.stopping)
