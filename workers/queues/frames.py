"""The wire between workers and the broker: frames over a Unix stream socket.

A frame is a header (size of the body, kind, count, argument) and a body. Messages travel in
*chunks*: a msgpack array of them, and one `Options` for all. The broker opens neither on the plain
path: empty options stand for the default ones.

    to the broker
    HELLO    body: Hello; a consumer's comes with the descriptor of its cursor
    PUT      count, argument: sequence (per client, from 1); body: SIZE, options, chunk
    CREDIT   argument: window = messages this consumer may have leased at once (absolute);
             count: of these, those that it handles in no time, or together; 0: not known
    ACK      body: PAIRs (chunk, done): the first ``done`` messages of a chunk are done
    NACK     count: index in the chunk, argument: chunk; body: Nack
    REPLY    argument: chunk; body: Reply: the result of a call; it settles the message too
    CANCEL   argument: correlation of a call that its caller gave up
    PROGRESS argument: chunk: extends the lease of its consumer
    MANAGE   body: Command (observers only)
    from the broker
    WELCOME  body: Welcome
    CONFIRM  argument: sequence, all before it too, but those that were rejected
    REJECTED argument: sequence; body: Rejected; sent before a CONFIRM of the same or a later one
    DELIVER  count, argument: chunk; body: PREFIX, options (their ttl: seconds left), chunk
    RESULT   argument: correlation; body: Reply
    REFUSED  body: why; the connection closes
    MANAGED  body: msgpack, {"error": why, "code": word} if it was refused

The body of a frame whose kind has the bit `SHARED` is the place of the real one in the client's
`ring`: of a PUT in a producer's, of a DELIVER in a consumer's. HELLO brings it, if there is one,
and WELCOME says whether it is used.

A chunk gets a new number each time it comes back: an ACK, NACK or REPLY that names an old number
is late, counted and ignored. A chunk for a consumer of several lanes holds one message.
"""

import mmap
import struct
from collections.abc import Callable
from enum import IntEnum

import msgspec

from workers.queues import heap
from workers.queues.ring import RingReader

PROTOCOL = 3
HEADER = struct.Struct("<IHHQ")  # body size, kind, count, argument
#: Of a delivered chunk: messages done, attempt, size of options, number of its first message, and
#: its `Suspicion`.
PREFIX = struct.Struct("<HHIQB")
#: Bit of a kind: the body is in the ring.
SHARED = 0x8000
SIZE = struct.Struct("<I")  # of the options of a chunk that is put
PAIR = struct.Struct("<QQ")  # chunk, messages done in it
#: Bytes of a chunk at most: one message of 1 MiB, and what its encoding adds.
MAX_BODY = (1 << 20) + (1 << 10)
#: Bytes of encoded options at most: what headers may hold.
MAX_OPTIONS = 1 << 14
#: Bytes of a frame's body at most: a chunk, and what stands in front of it.
MAX_FRAME = MAX_BODY + MAX_OPTIONS + PREFIX.size
#: Messages in one chunk at most: fits the header and the cursor.
MAX_COUNT = 0xFFFF
#: Bytes received by one call at most: so much is still in the processor's cache when it is read.
MAX_RECEIVED = 1 << 18
#: Lanes of one consumer at most: the cells of its cursor, without the last one (see `cursor`).
MAX_LANES = 511
#: Priorities are 0 to this one; higher ones go first.
MAX_PRIORITY = 9
#: Seconds for which a message may be held back: ten years.
MAX_DELAY = 315_360_000.0


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    PUT = 2
    CREDIT = 3
    ACK = 4
    NACK = 5
    REPLY = 6
    CANCEL = 7
    PROGRESS = 8
    MANAGE = 9
    WELCOME = 16
    CONFIRM = 17
    DELIVER = 18
    REFUSED = 19
    REJECTED = 20
    RESULT = 21
    MANAGED = 22


class Suspicion(IntEnum):
    """What is known against the messages of a chunk; more includes less."""

    NONE = 0  # nothing: they may have been delivered before, and nobody has failed with them
    FAILED = 1  # a consumer has failed with them, and its process went on
    CHARGED = 2  # a process has ended over them: another end would be their own fault
    SUSPECT = 3  # their last consumer has, over them or what else it was working on at the time


class Options(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What holds for all messages of a chunk; b"" stands for the default ones.

    Times are seconds from when the frame was sent: the clocks of peers are not compared.
    """

    priority: int = 0  # 0 to MAX_PRIORITY; higher ones go first
    key: str = ""  # of fair queues, rates per key, and the order per key
    ttl: float = 0.0  # until it expires; 0: never, or when the queue says
    delay: float = 0.0  # before it may be delivered
    dedupe: str = ""  # rejected if the same was accepted within the window; one message only
    headers: dict[str, str] = {}  # carried through: traceparent and the like
    reply: int = 0  # correlation of a call, one message only; 0: none


class Hello(msgspec.Struct, frozen=True):
    """The first frame of a connection. A consumer's comes with the descriptor of its cursor.

    ``role``: "producer", "consumer" or "observer". ``client``: names a producer over reconnections,
    so that what it sends again is known. ``lanes``: messages a consumer works on at once.
    ``worker``: names a consumer in the dead letters that its end makes.
    ``ring``: the descriptor of a ring comes last, into which a producer, or out of which a consumer
    would have large bodies.
    """

    role: str
    queue: str = ""
    client: str = ""
    lanes: int = 1
    worker: str = ""
    protocol: int = PROTOCOL
    ring: bool = False


class Welcome(msgspec.Struct, frozen=True):
    """What the client has to know of its queue. ``max_body``: bytes of a chunk at most.

    ``max_count``: messages of a chunk at most. Observers get zeros.
    """

    capacity: int = 0
    max_bytes: int = 0  # of all that it holds
    max_body: int = 0
    max_count: int = 0
    overflow: str = "block"
    fair_by: str | None = None
    dedupe_by: str | None = None
    serializer: str = "msgspec"
    ttl: float | None = None
    ack: str = "late"
    lease: float | None = None
    priorities: int = 1
    max_attempts: int = 5
    durable: str = ""  # "", "process" or "full"
    epoch: int = 0  # of the numbers of messages: another one, other messages; durable ones have one
    protocol: int = PROTOCOL
    ring: bool = False  # whether the client's is used


class Nack(msgspec.Struct, frozen=True):
    """What is to become of one message; those before it are done, the consumer goes on behind.

    ``action``: "retry" (attempt + 1; ``delay`` None: by the queue's backoff) or "dead".
    ``fatal``: its consumer is going to end over it.
    """

    action: str = "retry"
    delay: float | None = None
    reason: str = ""
    error: str = ""
    traceback: str = ""
    fatal: bool = False


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a call: an encoded message, or what went wrong. ``fatal``: as in `Nack`."""

    ok: bool
    body: bytes = b""
    error: str = ""
    fatal: bool = False


class Rejected(msgspec.Struct, frozen=True):
    """Why a put is not in the queue: full, shed, duplicate, closed or store.

    ``message``: says it to people, with what to do.
    """

    reason: str
    message: str = ""


class Command(msgspec.Struct, frozen=True):
    """A request of an observer.

    ``name``: stats, pause, resume, squeeze, relax, drain, hold, reopen, purge, peek, dead_list,
    dead_show, dead_replay, dead_discard. ``ids``: dead letters; empty: all, from ``offset``, at
    most ``limit`` of them. Of a purge ``offset`` is the last message meant; 0: the last one.
    ``worker``: of out_of_memory, who was killed for that: "shop/web.0#2".
    """

    name: str
    queue: str = ""
    ids: list[int] = []
    offset: int = 0
    limit: int = 100
    worker: str = ""


class FrameError(Exception):
    """The peer does not speak the protocol; its connection is closed."""


def name_of(queue: str, epoch: int, number: int) -> str:
    """Name a message: the same however often it comes, and no other one's ever.

    ``epoch``: of the numbers, as `Welcome` has it.
    """
    return f"{queue}:{epoch:08x}:{number}" if epoch else f"{queue}:{number}"


def frame(kind: Kind, body: bytes = b"", count: int = 0, argument: int = 0) -> bytes:
    """Make a frame."""
    return HEADER.pack(len(body), kind, count, argument) + body


def _memory(size: int) -> mmap.mmap:
    """Return memory that costs nothing before it is written to: most connections need little."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class FrameReader:
    """A receive buffer that yields whole frames. The caller has it `receive`, or fills `space`.

    A body is given as a memoryview of the buffer, or of the ring: to be copied by whoever keeps it,
    before the next one is asked for. ``taken``: bytes that came by the ring so far.
    ``ring``: where they may be, if there is one.
    """

    def __init__(self, size: int = 1 << 20) -> None:
        self.ring: RingReader | None = None
        self.taken = 0
        self._place = b""  # of the body in the ring that was given last
        self._buffer = _memory(size)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    @property
    def begun(self) -> bool:
        """Whether there is a part of a frame, when `next` has found no whole one."""
        return self._end > 0

    @property
    def space(self) -> memoryview:
        """Where to receive into: never empty."""
        return self._view[self._end : self._end + MAX_RECEIVED]

    def received(self, count: int) -> None:
        """So many bytes were received into `space`."""
        self._end += count

    def receive(self, into: Callable[[memoryview], int]) -> int:
        """Receive by ``into``, which returns how many bytes; so does this. Errors are its own."""
        end = self._end
        count = into(self._view[end : end + MAX_RECEIVED])
        self._end = end + count
        return count

    def next(self) -> tuple[int, int, int, memoryview] | None:
        """Return (kind, count, argument, body) of the next whole frame, if it is there.

        Raises:
            FrameError: a frame is larger than allowed; nothing was allocated for it.

        """
        if self._place and self.ring is not None:
            self.taken += self.ring.taken(self._place)
            self._place = b""
        start, have = self._start, self._end - self._start
        if not have:
            self._start = self._end = 0
            return None
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
        body = self._view[start + HEADER.size : start + whole]
        if kind & SHARED:
            if self.ring is None:
                raise FrameError("a body in a ring, without one")
            heap.keep()
            self._place = bytes(body)
            return kind ^ SHARED, count, argument, self.ring.at(self._place)
        return kind, count, argument, body

    def _make_room(self, needed: int) -> None:
        """Move what is left to the front, into a larger buffer if a frame needs it."""
        left = self._end - self._start
        if needed > heap.LARGE:
            heap.keep()
        if needed > len(self._buffer):
            grown = _memory(max(needed, 2 * len(self._buffer)))
            grown[:left] = self._view[self._start : self._end]
            self._buffer, self._view = grown, memoryview(grown)
        elif self._start and left:
            self._view[:left] = self._view[self._start : self._end]  # it may overlap
        self._start, self._end = 0, left
