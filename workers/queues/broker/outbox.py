"""What waits to be sent to one peer: frames, and chunks for the ring of a consumer."""

import socket
from collections import deque

from workers.queues import ring
from workers.queues.frames import HEADER, SHARED, FrameError, Kind

#: Buffers given to one sendmsg at most; and bytes, with which there are enough: the socket takes no
#: more, and looking at a buffer that it does not take costs as much as sending it.
MAX_BUFFERS, ENOUGH = 512, 1 << 19
#: Bytes that the kernel holds of what a peer has not read yet. It asks for more when three quarters
#: are read: of a small buffer nothing is left by then, and the peer waits.
SEND_BUFFER = 1 << 19
#: Bytes that wait for a peer which does not read, before its connection is closed. A consumer may
#: have as much more as its queue holds: that it asked for.
MAX_UNREAD = 1 << 20
#: Counted for each frame that waits, beside its bytes: what an object costs.
FRAME_COST = 64
#: Bytes of a chunk that is copied behind its header, to be sent as one buffer.
SMALL = 4096

_KIND, _SHARED = int(Kind.DELIVER), int(Kind.DELIVER) | SHARED
_PLACE = ring.PLACE.size

#: A chunk that is to be delivered: count, number, what stands in front of it, its bytes.
Waiting = tuple[int, int, bytes, bytes]


class Outbox:
    """Frames in the order in which they were added.

    ``limit``: bytes that may wait. ``ring``: where large chunks go, if there is one: while it is
    full they wait, since its reader says so whenever it has taken some; see `QueueReader.take`.

    Args:
        sock: the connection, which does not block.

    """

    __slots__ = ("_later", "_out", "_socket", "_unread", "limit", "ring")

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._socket = sock
        self.limit = MAX_UNREAD
        self.ring: ring.RingWriter | None = None
        self._out: list[bytes | memoryview] = []
        self._unread = 0  # what is in `_out`: its bytes, and FRAME_COST for each buffer
        self._later: deque[Waiting] = deque()  # what waits for the ring, and what comes behind it

    @property
    def backlog(self) -> bool:
        """Whether the socket did not take all."""
        return bool(self._out)

    @property
    def waits(self) -> bool:
        """Whether something waits for the ring."""
        return bool(self._later)

    def check(self) -> None:
        """See that not too much waits; raises FrameError if this peer does not read."""
        if self._unread > self.limit:
            raise FrameError(f"{self._unread} bytes wait to be read; at most {self.limit}")

    def add(self, buffer: bytes) -> None:
        """Add a frame, or a part of one."""
        self._out.append(buffer)
        self._unread += len(buffer) + FRAME_COST

    def deliver(self, count: int, number: int, front: bytes, body: bytes) -> None:
        """Add a chunk."""
        if len(body) <= SMALL and not self._later:
            chunk = HEADER.pack(len(front) + len(body), _KIND, count, number) + front + body
            self._out.append(chunk)
            self._unread += len(chunk) + FRAME_COST
        elif self.ring is not None and (self._later or len(body) >= ring.LEAST):
            self._later.append((count, number, front, body))
        else:
            self._add_chunk(count, number, front, body)

    def flush(self) -> None:
        """Send as much as the peer takes.

        Raises:
            OSError: it is gone.
            FrameError: it does not read, and too much waits for it.

        """
        while True:
            if self._later:
                self._fill()
            if not self._out or not self._send():
                return

    def _send(self) -> bool:
        """Send what there is; False if the socket takes no more."""
        out = self._out
        while out:
            try:
                if len(out) == 1:
                    sent = self._socket.send(out[0])
                else:
                    sent = self._socket.sendmsg(self._first())
            except BlockingIOError:
                sent = 0
            if sent == self._unread - FRAME_COST * len(out):
                out.clear()
                self._unread = 0
            elif not self._sent(sent):
                self.check()
                return False
        return bool(self._later)

    def _fill(self) -> None:
        """Put what waits into the ring, in order, as far as there is room."""
        assert self.ring is not None
        while self._later and self._unread < ENOUGH:
            count, number, front, body = self._later[0]
            if len(body) < ring.LEAST or len(front) + len(body) > ring.MOST:
                self._add_chunk(count, number, front, body)
            else:
                place = self.ring.write((front, body))
                if place is None:
                    return
                self.add(HEADER.pack(_PLACE, _SHARED, count, number) + place)
            self._later.popleft()

    def _add_chunk(self, count: int, number: int, front: bytes, body: bytes) -> None:
        head = HEADER.pack(len(front) + len(body), _KIND, count, number) + front
        if len(body) <= SMALL:
            self.add(head + body)
        else:
            self.add(head)
            self.add(body)

    def _first(self) -> list[bytes | memoryview]:
        """As many of the buffers as the socket may take at once."""
        if self._unread <= ENOUGH:
            return self._out[:MAX_BUFFERS]
        size = 0
        for number, buffer in enumerate(self._out, 1):
            size += len(buffer)
            if size >= ENOUGH or number == MAX_BUFFERS:
                return self._out[:number]
        return self._out

    def _sent(self, size: int) -> bool:
        """Drop what was sent; False if that ends within a buffer: the socket takes no more."""
        if not size:
            return False
        self._unread -= size
        whole = 0
        for buffer in self._out:
            if size < len(buffer):
                break
            size -= len(buffer)
            whole += 1
        del self._out[:whole]
        self._unread -= whole * FRAME_COST
        if size:
            self._out[0] = memoryview(self._out[0])[size:]
        return not size
