"""The broker's end of one worker's connection: frames in, coalesced frames out."""

import array
import os
import select
import socket
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import msgspec

from workers.queues.broker.outbox import Outbox
from workers.queues.core.chunk import Chunk
from workers.queues.core.clients import Sent
from workers.queues.cursor import CursorReader
from workers.queues.frames import (
    PREFIX,
    FrameError,
    FrameReader,
    Kind,
    Options,
    Rejected,
    frame,
)
from workers.queues.ring import RingReader, RingWriter

#: Descriptors that come before a connection has said who it is: a cursor and a ring.
MAX_DESCRIPTORS = 2
_PREFIX = PREFIX.pack

#: A put that has no room yet: count, sequence, chunk, options, the options decoded.
Parked = tuple[int, int, bytes, bytes, Options | None]
#: Takes a frame: kind, count, argument, body.
Handler = Callable[["Connection", int, int, int, memoryview], None]


_Ring = TypeVar("_Ring", RingReader, RingWriter)


class Role(Enum):
    """What is at the other end."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    OBSERVER = "observer"


class Connection:
    """One connection. ``number``: names it, and no other one ever.

    ``sent``: what a producer has put before. ``handler``: takes its frames, once it has said who it
    is. ``host``: whose queue it serves. ``worker``: a consumer's name; empty: it has said none.
    """

    __slots__ = (
        "_confirmed",
        "_descriptors",
        "cursor",
        "frames",
        "handler",
        "host",
        "number",
        "out",
        "over_memory",
        "parked",
        "pid",
        "role",
        "sent",
        "socket",
        "watched",
        "worker",
    )

    def __init__(self, sock: socket.socket, pid: int, number: int) -> None:
        self.socket, self.pid, self.number = sock, pid, number
        self.role: Role | None = None
        self.host: Any = None
        self.sent: Sent | None = None
        self.worker = ""
        self.handler: Handler | None = None
        self.cursor: CursorReader | None = None
        self.frames = FrameReader()
        self.parked: Parked | None = None
        self.over_memory = False  # its process is to be ended for that
        self.watched = int(select.EPOLLIN)
        self.out = Outbox(sock)
        self._confirmed = 0  # a confirmation that is not in `_out` yet: only the last one is sent
        self._descriptors: list[int] = []

    # --- in ---------------------------------------------------------------------------------------

    def receive(self) -> None:
        """Receive what is there; raises OSError at the end of the connection."""
        try:
            known = self.role is not None
            size = self.frames.receive(self.socket.recv_into) if known else self._receive_hello()
        except BlockingIOError:
            return
        if not size:
            raise ConnectionResetError("closed")

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
        self.frames.received(size)
        return size

    def take_descriptor(self) -> int:
        """Return the next descriptor that came with HELLO; raises ValueError if there is none."""
        if not self._descriptors:
            raise ValueError("a consumer has to send the descriptor of its cursor, and of its ring")
        return self._descriptors.pop(0)

    def take_ring(self, end: type[_Ring]) -> _Ring:
        """Open the ring that came with HELLO; raises ValueError if there was none."""
        fd = self.take_descriptor()
        try:
            return end(fd)
        finally:
            os.close(fd)

    # --- out --------------------------------------------------------------------------------------

    @property
    def wants_write(self) -> bool:
        """Whether something could not be sent yet."""
        return self.out.backlog

    def send(self, kind: Kind, body: bytes = b"", argument: int = 0) -> None:
        """Add a frame to what is sent by the next flush.

        Raises:
            FrameError: too much waits for this peer already, which does not read.

        """
        self.out.check()
        self.out.add(frame(kind, body, 0, argument))

    def confirm(self, sequence: int) -> None:
        """Tell a producer that all up to here is in the queue."""
        if sequence > self._confirmed:
            self._confirmed = sequence

    def reject(self, sequence: int, reason: str, why: str) -> None:
        """Tell a producer that a put is not in the queue. ``why``: the reason, for people."""
        assert self.sent is not None
        self.sent.rejected(sequence, reason)
        self.send(Kind.REJECTED, msgspec.msgpack.encode(Rejected(reason, why)), sequence)

    def deliver(self, chunk: Chunk, now: float) -> None:
        """Add a chunk; in front of it, the messages that are done, the attempt, the options."""
        options, body = chunk.options, chunk.body
        if chunk.expires:
            options = _with_time_left(chunk, now)
        prefix = _PREFIX(chunk.done, chunk.told, len(options), chunk.origin, chunk.suspect)
        self.out.deliver(chunk.count, chunk.id, prefix + options, body)

    def flush(self) -> None:
        """Send as much as the peer takes.

        Raises:
            OSError: it is gone.
            FrameError: it does not read, and too much waits for it.

        """
        if self._confirmed:
            self.send(Kind.CONFIRM, argument=self._confirmed)
            self._confirmed = 0
        self.out.flush()

    def refuse(self, why: str) -> None:
        """Say why the connection is closed, if the peer still reads."""
        self.out.add(frame(Kind.REFUSED, why.encode(errors="replace")))
        try:
            self.flush()
        except (OSError, FrameError):
            pass

    def close(self) -> None:
        """Close it."""
        self.socket.close()
        for fd in self._descriptors:
            os.close(fd)


def _with_time_left(chunk: Chunk, now: float) -> bytes:
    """Encode the options of a chunk that expires: its ttl is what is left of it now."""
    options = chunk.extra or Options()
    left = max(1e-6, chunk.expires - now)
    return msgspec.msgpack.encode(msgspec.structs.replace(options, ttl=left, delay=0.0))
