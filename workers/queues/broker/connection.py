"""The broker's end of one worker's connection: frames in, coalesced frames out."""

import array
import os
import select
import socket
import struct
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from workers.queues.core.chunk import Chunk
from workers.queues.core.clients import Sent
from workers.queues.cursor import CursorReader
from workers.queues.frames import (
    HEADER,
    PREFIX,
    FrameError,
    FrameReader,
    Kind,
    Options,
    Rejected,
    frame,
)

#: Buffers given to one sendmsg at most; and bytes, with which there are enough: the socket takes no
#: more, and looking at a buffer that it does not take costs as much as sending it.
MAX_BUFFERS, ENOUGH = 512, 1 << 19
#: Bytes that the kernel holds of what a peer has not read yet. It asks for more when three quarters
#: are read: of a small buffer nothing is left by then, and the peer waits.
SEND_BUFFER = 1 << 19
#: Bytes that wait for a peer which does not read, before its connection is closed. A consumer may
#: have as much more as its queue holds: that it asked for.
MAX_UNREAD = 1 << 20
#: Descriptors that come before a connection has said who it is: a cursor, and its padding.
MAX_DESCRIPTORS = 2
#: Counted for each frame that waits, beside its bytes: what an object costs.
FRAME_COST = 64
#: Bytes of a chunk that is copied behind its header, to be sent as one buffer.
SMALL = 4096
#: Header and prefix of a delivered chunk.
_DELIVER = struct.Struct(HEADER.format + PREFIX.format[1:])

_PREFIX, _KIND = PREFIX.size, int(Kind.DELIVER)

#: Why a put was refused, for people.
WHY = {
    "full": "the queue is full",
    "shed": "it would come too late: the queue is overloaded",
    "duplicate": "the same was accepted a short while ago",
    "closed": "the queue is being drained: it takes nothing in",
    "store": "it cannot be kept: see the store of the queue",
}

#: A put that has no room yet: count, sequence, chunk, options, the options decoded.
Parked = tuple[int, int, bytes, bytes, Options | None]
#: Takes a frame: kind, count, argument, body.
Handler = Callable[["Connection", int, int, int, memoryview], None]


class Role(Enum):
    """What is at the other end."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    OBSERVER = "observer"


class Connection:
    """One connection. ``number``: names it, and no other one ever.

    ``sent``: what a producer has put before. ``handler``: takes its frames, once it has said who it
    is. ``host``: whose queue it serves.
    """

    __slots__ = (
        "_confirmed",
        "_descriptors",
        "_out",
        "_unread",
        "cursor",
        "frames",
        "handler",
        "host",
        "max_unread",
        "number",
        "parked",
        "pid",
        "role",
        "sent",
        "socket",
        "watched",
    )

    def __init__(self, sock: socket.socket, pid: int, number: int) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.socket, self.pid, self.number = sock, pid, number
        self.role: Role | None = None
        self.host: Any = None
        self.sent: Sent | None = None
        self.handler: Handler | None = None
        self.cursor: CursorReader | None = None
        self.frames = FrameReader()
        self.parked: Parked | None = None
        self.watched = int(select.EPOLLIN)
        self.max_unread = MAX_UNREAD
        self._out: list[bytes | memoryview] = []
        self._unread = 0  # what is in `_out`: its bytes, and FRAME_COST for each buffer
        self._confirmed = 0  # a confirmation that is not in `_out` yet: only the last one is sent
        self._descriptors: list[int] = []

    # --- in ---------------------------------------------------------------------------------------

    def receive(self) -> None:
        """Receive what is there; raises OSError at the end of the connection."""
        try:
            if self.role is None:
                size = self._receive_hello()
            else:
                size = self.socket.recv_into(self.frames.space)
        except BlockingIOError:
            return
        if not size:
            raise ConnectionResetError("closed")
        self.frames.received(size)

    def _receive_hello(self) -> int:
        """Receive with a descriptor, which only the first frame may bring."""
        space = socket.CMSG_SPACE(array.array("i").itemsize)
        size, ancillary, _flags, _ = self.socket.recvmsg_into(
            [self.frames.space], space, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._descriptors.extend(array.array("i", data))
        if len(self._descriptors) > MAX_DESCRIPTORS:
            raise FrameError("too many descriptors")
        return size

    def take_descriptor(self) -> int:
        """Return the descriptor that came with HELLO; raises ValueError if there was none."""
        if not self._descriptors:
            raise ValueError("a consumer has to send the descriptor of its cursor")
        return self._descriptors.pop(0)

    # --- out --------------------------------------------------------------------------------------

    @property
    def wants_write(self) -> bool:
        """Whether something could not be sent yet."""
        return bool(self._out)

    def send(self, kind: Kind, body: bytes = b"", argument: int = 0) -> None:
        """Add a frame to what is sent by the next flush.

        Raises:
            FrameError: too much waits for this peer already, which does not read.

        """
        if self._unread > self.max_unread:
            raise FrameError(f"{self._unread} bytes wait to be read; at most {self.max_unread}")
        self._add(frame(kind, body, 0, argument))

    def confirm(self, sequence: int) -> None:
        """Tell a producer that all up to here is in the queue."""
        if sequence > self._confirmed:
            self._confirmed = sequence

    def reject(self, sequence: int, reason: str) -> None:
        """Tell a producer that a put is not in the queue."""
        assert self.sent is not None
        self.sent.rejected(sequence, reason)
        body = msgspec.msgpack.encode(Rejected(reason, WHY.get(reason, reason)))
        self.send(Kind.REJECTED, body, sequence)

    def deliver(self, chunk: Chunk, now: float) -> None:
        """Add a chunk; in front of it, the messages that are done, the attempt, the options."""
        options, body = chunk.options, chunk.body
        if chunk.expires:
            options = _with_time_left(chunk, now)
        size = len(body) + len(options) + _PREFIX
        head = _DELIVER.pack(
            size,
            _KIND,
            chunk.count,
            chunk.id,
            chunk.done,
            chunk.attempt,
            len(options),
            chunk.origin,
        )
        if len(body) <= SMALL:
            self._add(b"".join((head, options, body)))
        else:
            self._add(head + options)
            self._add(body)

    def flush(self) -> None:
        """Send as much as the peer takes.

        Raises:
            OSError: it is gone.
            FrameError: it does not read, and too much waits for it.

        """
        if self._confirmed:
            self.send(Kind.CONFIRM, argument=self._confirmed)
            self._confirmed = 0
        while self._out:
            try:
                sent = self.socket.sendmsg(self._first())
            except BlockingIOError:
                sent = 0
            if sent == self._unread - FRAME_COST * len(self._out):
                self._out.clear()
                self._unread = 0
                return
            if not self._sent(sent):
                if self._unread > self.max_unread:
                    raise FrameError(f"{self._unread} bytes wait, and are not read")
                return

    def refuse(self, why: str) -> None:
        """Say why the connection is closed, if the peer still reads."""
        self._add(frame(Kind.REFUSED, why.encode(errors="replace")))
        try:
            self.flush()
        except (OSError, FrameError):
            pass

    def close(self) -> None:
        """Close it."""
        self.socket.close()
        for fd in self._descriptors:
            os.close(fd)

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

    def _add(self, buffer: bytes) -> None:
        self._out.append(buffer)
        self._unread += len(buffer) + FRAME_COST

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


def _with_time_left(chunk: Chunk, now: float) -> bytes:
    """Encode the options of a chunk that expires: its ttl is what is left of it now."""
    options = chunk.extra or Options()
    left = max(1e-6, chunk.expires - now)
    return msgspec.msgpack.encode(msgspec.structs.replace(options, ttl=left, delay=0.0))
