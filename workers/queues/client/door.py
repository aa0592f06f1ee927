"""A worker's way to the broker: connecting, waiting, and connecting again when it was restarted.

The address is a path; the supervisor hands workers a descriptor of the broker's socket, and
/proc/self/fd/N of it can be connected to even after the worker gave up its privileges.
"""

import array
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec

from supervisor.link import LONGEST_WAIT, WorkerLink
from workers.queues.errors import Interrupted, QueueRefused, QueueUnavailable
from workers.queues.frames import HEADER, SHARED, FrameReader, Hello, Kind, Welcome, frame
from workers.queues.ring import PLACE, RingReader, RingWriter, make

#: Seconds to wait for the broker to come back, before giving up (and crashing, as a rule).
RECONNECT_LIMIT = 30.0
#: Seconds between two attempts, at first and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5
SEND_BUFFER = 1 << 20
#: Buffers given to one sendmsg.
MAX_BUFFERS = 512
#: Descriptors that are waited for at once: the connection, and the two of the link.
MAX_READY = 3

_HEADER = HEADER.size
_decode_welcome = msgspec.msgpack.Decoder(Welcome).decode  # made by the template, for all its forks


class Door:
    """One connection to the broker, replaced when it breaks.

    Args:
        address: path of the broker's socket.
        hello: who we are.
        link: the worker's link. Who waits goes on beating by it: the broker is away, or the queue
            full, and its work loop lives.
        stops: whether waiting ends with a request to stop.
        fd: a descriptor that goes with the hello: a consumer's cursor.

    If the hello says so, each connection has a ring for large bodies: a consumer's for what comes,
    a producer's for what goes. ``taken``: bytes that came by it. ``on_break``: called when a
    connection has ended: who waits for its descriptor elsewhere is told by nobody else.

    """

    def __init__(
        self,
        address: str,
        hello: Hello,
        link: WorkerLink | None = None,
        fd: int | None = None,
        *,
        stops: bool = True,
    ) -> None:
        self._address, self._hello, self._link, self.fd = address, hello, link, fd
        self._stops = stops and link is not None
        self._socket: socket.socket | None = None
        self._frames = FrameReader()
        self._out: list[memoryview] = []  # what the socket did not take yet
        self._ring: RingWriter | None = None
        self._epoll: select.epoll | None = None  # kept: there may be no descriptor for another
        self._polled = (-1, 0)  # what it knows beside the link: descriptor, events
        self.welcome = Welcome()
        self.on_break: Callable[[], None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    @property
    def backlog(self) -> bool:
        """Whether something that was posted is not sent yet."""
        return bool(self._out)

    @property
    def taken(self) -> int:
        """Bytes that came by the ring of this connection."""
        return self._frames.taken

    def fileno(self) -> int:
        """The connection's descriptor, for who waits for it elsewhere; -1: there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def ignore_stops(self) -> None:
        """Do not heed requests to stop any more: what follows ends by its deadlines."""
        self._stops = False
        if self._epoll is not None:
            self._epoll.close()
            self._epoll, self._polled = None, (-1, 0)

    def connect(self, deadline: float | None = None) -> None:
        """Connect, however often that needs to be tried.

        Raises:
            QueueUnavailable: the broker did not answer by the deadline, or in `RECONNECT_LIMIT`
                seconds.
            QueueRefused: it does not know the queue.

        """
        limit = time.monotonic() + RECONNECT_LIMIT
        deadline = limit if deadline is None else min(deadline, limit)
        pause = FIRST_PAUSE
        while True:
            try:
                self._connect(deadline)
                return
            except OSError as error:
                self.break_off()
                if time.monotonic() + pause > deadline:
                    raise QueueUnavailable(
                        f"no broker for {self._hello.queue!r}: {error}"
                    ) from error
                self._wait(-1, 0, time.monotonic() + pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def break_off(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            if self._polled[0] >= 0:
                self._poll_for(-1, 0)  # closing alone would not do, where a fork has it open
            self._socket.close()
            self._socket = None
            if self.on_break is not None:
                self.on_break()
        self._out.clear()

    def shut(self) -> None:
        """End the connection, from another thread: who waits for it finds that out."""
        sock = self._socket
        if sock is not None:
            with suppress(OSError):  # it has ended just now
                sock.shutdown(socket.SHUT_RDWR)

    def post(self, buffer: bytes | bytearray) -> bool:
        """Send what the socket takes now, and the rest while waiting in `frames` or `send`.

        False when the connection broke, or was broken.
        """
        sock = self._socket
        if sock is None:
            return False
        sent = 0
        if not self._out:  # the usual case, and the only one that has to be fast
            try:
                sent = sock.send(buffer)
                if sent == len(buffer):
                    return True
            except BlockingIOError:
                pass
            except OSError:
                self.break_off()
                return False
        self._out.append(memoryview(buffer)[sent:])
        return self.push()

    def post_large(self, frame: bytearray) -> bool:
        """Post a frame, its body by the ring if there is room; False when the connection broke."""
        place = None if self._ring is None else self._ring.write((memoryview(frame)[_HEADER:],))
        if place is None:
            return self.post(frame)
        _, kind, count, argument = HEADER.unpack_from(frame)
        return self.post(HEADER.pack(PLACE.size, kind | SHARED, count, argument) + place)

    def send(self, buffer: bytes | bytearray) -> bool:
        """Send everything; False when the connection broke, or was broken."""
        if not self.post(buffer):
            return False
        while self._out:
            self._wait(self.fileno(), select.EPOLLOUT, None)
            if not self.push():
                return False
        return True

    def tell(self, said: bytes) -> None:
        """Send everything, even if asked to stop meanwhile; nothing if the connection breaks."""
        if not self.post(said) or not self._out:
            return
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        while self.push() and self._out:
            poll.poll()

    def push(self) -> bool:
        """Send what the socket takes of what is left; False when the connection broke."""
        while self._out:
            assert self._socket is not None
            try:
                sent = self._socket.sendmsg(self._out[:MAX_BUFFERS])
            except BlockingIOError:
                return True
            except OSError:
                self.break_off()
                return False
            self._sent(sent)
        return True

    def _sent(self, size: int) -> None:
        """Drop what was sent."""
        while self._out and size >= len(self._out[0]):
            size -= len(self._out.pop(0))
        if size:
            self._out[0] = self._out[0][size:]

    def patience(self, deadline: float | None) -> float:
        """Seconds to wait at once: until the deadline, or until it is time to `rest`."""
        interval = None if self._link is None else self._link.beat_interval
        longest = LONGEST_WAIT if interval is None else min(interval, LONGEST_WAIT)
        return longest if deadline is None else min(max(0.0, deadline - time.monotonic()), longest)

    def rest(self, deadline: float | None) -> bool:
        """Beat, after a wait of `patience` seconds; False if the deadline has come."""
        if self._link is not None:
            self._link.rest()
        return deadline is None or time.monotonic() < deadline

    def frames(
        self, *, block: bool, deadline: float | None = None
    ) -> Iterator[tuple[int, int, int, memoryview]]:
        """Yield the frames that are there, after waiting for one if ``block``.

        While it waits, what was posted is sent.

        Ends when the connection breaks (`connected` is then False) or the deadline has passed.

        Raises:
            QueueRefused: the broker says so.
            Interrupted: a request to stop came while waiting.

        """
        found = self._frames.next()
        while found is None:
            if self._socket is None or not self._receive(block, deadline):
                return
            found = self._frames.next()
        while found is not None:
            kind, count, argument, body = found
            if kind == Kind.REFUSED:
                self.break_off()
                raise QueueRefused(bytes(body).decode(errors="replace"))
            yield kind, count, argument, body
            found = self._frames.next()

    def _receive(self, block: bool, deadline: float | None) -> bool:
        assert self._socket is not None
        while True:
            if self._out and not self.push():
                return False
            try:
                size = self._frames.receive(self._socket.recv_into)
            except BlockingIOError:
                events = select.EPOLLIN | (select.EPOLLOUT if self._out else 0)
                if not block or not self._wait(self._socket.fileno(), events, deadline):
                    return False
                continue
            except OSError:
                size = 0
            if not size:
                self.break_off()
                return False
            return True

    def _connect(self, deadline: float) -> None:
        self._frames, self._ring = FrameReader(), None
        sock = self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        sock.connect(self._address)
        hello = frame(Kind.HELLO, msgspec.msgpack.encode(self._hello))
        fds = array.array("i", [] if self.fd is None else [self.fd])
        ring = make() if self._hello.ring else -1
        try:
            if ring >= 0:
                fds.append(ring)
                if self._hello.role == "consumer":
                    self._frames.ring = RingReader(ring)
            sock.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
            sock.setblocking(False)
            self._welcomed(deadline)
            if ring >= 0 and self._hello.role == "producer" and self.welcome.ring:
                self._ring = RingWriter(ring)
        finally:
            if ring >= 0:
                os.close(ring)

    def _welcomed(self, deadline: float) -> None:
        for kind, _count, _argument, body in self.frames(block=True, deadline=deadline):
            if kind == Kind.WELCOME:
                self.welcome = _decode_welcome(body)
                return
        raise ConnectionError("the broker closed the connection, or did not answer")

    def _wait(self, fd: int, events: int, deadline: float | None) -> bool:
        """Wait for a descriptor; False at the deadline. A request to stop raises Interrupted."""
        epoll = self._epoll
        if epoll is None or (fd, events) != self._polled:
            epoll = self._poll_for(fd, events)
        rested = False
        while True:
            ready = epoll.poll(self.patience(deadline), MAX_READY)
            if not ready:
                if not self.rest(deadline):
                    return False
                rested = True
                continue
            if rested and self._link is not None:
                self._link.rested()
            if len(ready) == 1 and ready[0][0] == fd:
                return True
            if self._stops and self._link is not None and self._link.stopping:
                name = self._hello.queue
                raise Interrupted(f"asked to stop while waiting for queue {name!r}")
            if any(one == fd for one, _ in ready):
                return True

    def _poll_for(self, fd: int, events: int) -> select.epoll:
        """Wait for this descriptor from now on, and for no other but the link's; -1: for none."""
        epoll, before = self._epoll, self._polled[0]
        if epoll is None:
            epoll = self._epoll = select.epoll()
            if self._stops and self._link is not None:
                epoll.register(self._link.fileno(), select.EPOLLIN)
                epoll.register(self._link.wakeup_fd, select.EPOLLIN)
        if before >= 0:
            epoll.unregister(before)
        if fd >= 0:
            epoll.register(fd, events)
        self._polled = (fd, events)
        return epoll
