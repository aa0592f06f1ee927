"""The wire between workers and the broker: frames over a Unix stream socket.

A frame is a header (size of the body, kind, count, argument) and a body. The broker looks into the
bodies of HELLO and REJECT; chunks pass through it unopened.

    to the broker                            from the broker
    HELLO   body: Hello                      WELCOME  body: pair (capacity, bytes of a chunk)
    PUT     count, argument: sequence        CONFIRM  argument: sequence, all before it too
    CREDIT  argument: messages               DELIVER  count, argument: chunk; body: prefix, chunk
    ACK     body: pairs (chunk, done)        REFUSED  body: why; the connection closes
    REJECT  count: index, argument: chunk    STATS    body: msgpack
    STAT
"""

import struct
from enum import IntEnum

import msgspec

HEADER = struct.Struct("<IHHQ")  # body size, kind, count, argument
PREFIX = struct.Struct("<HH")  # of a delivered chunk: messages done before, attempt
PAIR = struct.Struct("<QQ")  # chunk, messages done in it
#: Bytes of a chunk at most: one message cannot be larger.
MAX_BODY = 1 << 20
#: Bytes of a frame's body at most: a chunk, and what stands in front of it.
MAX_FRAME = MAX_BODY + PREFIX.size
#: Messages in one chunk at most: fits the header and the cursor.
MAX_COUNT = 0xFFFF


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    PUT = 2
    CREDIT = 3
    ACK = 4
    REJECT = 5
    STAT = 6
    WELCOME = 16
    CONFIRM = 17
    DELIVER = 18
    REFUSED = 19
    STATS = 20


class Hello(msgspec.Struct, frozen=True):
    """The first frame of a connection. A consumer's comes with the descriptor of its cursor.

    ``role``: "producer", "consumer" or "observer". ``client``: names a producer over reconnections,
    so that what it sends again is known.
    """

    role: str
    queue: str = ""
    client: str = ""


class FrameError(Exception):
    """The peer does not speak the protocol; its connection is closed."""


def frame(kind: Kind, body: bytes = b"", count: int = 0, argument: int = 0) -> bytes:
    """Make a frame."""
    return HEADER.pack(len(body), kind, count, argument) + body


class FrameReader:
    """A receive buffer that yields whole frames. The caller receives into `space`.

    A body is given as a memoryview of the buffer: to be copied by whoever keeps it.
    """

    def __init__(self, size: int = 1 << 18) -> None:
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    @property
    def space(self) -> memoryview:
        """Where to receive into: never empty."""
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """So many bytes were received into `space`."""
        self._end += count

    def next(self) -> tuple[int, int, int, memoryview] | None:
        """Return (kind, count, argument, body) of the next whole frame, if it is there.

        Raises:
            FrameError: a frame is larger than allowed; nothing was allocated for it.

        """
        start, have = self._start, self._end - self._start
        if have < HEADER.size:
            self._make_room(HEADER.size)
            return None
        size, kind, count, argument = HEADER.unpack_from(self._buffer, start)
        if size > MAX_FRAME:
            raise FrameError(f"a frame of {size} bytes; at most {MAX_FRAME}")
        whole = HEADER.size + size
        if have < whole:
            self._make_room(whole)
            return None
        self._start = start + whole
        return kind, count, argument, self._view[start + HEADER.size : start + whole]

    def _make_room(self, needed: int) -> None:
        """Move what is left to the front, into a larger buffer if a frame needs it."""
        left = self._end - self._start
        if needed > len(self._buffer):
            grown = bytearray(max(needed, 2 * len(self._buffer)))
            grown[:left] = self._view[self._start : self._end]
            self._buffer, self._view = grown, memoryview(grown)
        elif self._start and left:
            self._view[:left] = bytes(self._view[self._start : self._end])
        self._start, self._end = 0, left
