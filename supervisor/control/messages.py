"""The control protocol: every request and every reply there is.

One request, one reply, in order; what is not in these unions does not exist. No request can start
a program or import anything: a tree changes only within what its definition declared. A request
with a field that the server does not know is refused, never half obeyed.
"""

from typing import Annotated, Literal

import msgspec

from supervisor.errors import ProtocolError
from supervisor.observe.snapshot import Snapshot

MAX_PATH = 4096
MAX_SLOTS = 10_000
MAX_SECONDS = 366 * 86_400
MAX_IDS = 1_000

#: A path in the tree: "shop/payments" (supervisor), "shop/web" (child), "shop/web.0" (slot).
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH)]


class Ping(msgspec.Struct, frozen=True, tag="ping", forbid_unknown_fields=True):
    """Answer Pong."""


class GetSnapshot(msgspec.Struct, frozen=True, tag="get_snapshot", forbid_unknown_fields=True):
    """Answer SnapshotReply, at once."""


class RestartChildren(msgspec.Struct, frozen=True, tag="restart", forbid_unknown_fields=True):
    """Stop and start what is at a path; answered when it is ready again."""

    path: Path


class StopChildren(msgspec.Struct, frozen=True, tag="stop", forbid_unknown_fields=True):
    """Stop what is at a path until it is started again; None: the whole app, which then ends.

    For the whole app the answer says that it has begun.
    """

    path: Path | None = None


class StartChildren(msgspec.Struct, frozen=True, tag="start", forbid_unknown_fields=True):
    """Start what was stopped at a path; answered when it is ready."""

    path: Path


class Scale(msgspec.Struct, frozen=True, tag="scale", forbid_unknown_fields=True):
    """Give a child ``count`` slots."""

    path: Path
    count: Annotated[int, msgspec.Meta(ge=0, le=MAX_SLOTS)]


class SetLogLevel(msgspec.Struct, frozen=True, tag="log_level", forbid_unknown_fields=True):
    """Log records of a level and above at a path, for so many seconds; None: as others again."""

    path: Path
    level: Literal["debug", "info", "warning", "error", "critical"] | None
    seconds: Annotated[float, msgspec.Meta(gt=0, le=MAX_SECONDS)] | None = None


class RecycleChildren(msgspec.Struct, frozen=True, tag="recycle", forbid_unknown_fields=True):
    """Replace each process at a path, one slot of a child after the other.

    The new one is ready before the old one is asked to end, or with ``stop_first`` the other way
    round. ``patience``: seconds that the old one has to end in (None: 30, or its ``shutdown`` if
    that is longer). Answered when it is done, or with ``wait=False`` when it has begun.
    """

    path: Path
    cause: Annotated[str, msgspec.Meta(pattern="^[a-z_]{1,40}$")] = "recycled"
    stop_first: bool = False
    patience: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None
    wait: bool = True


class TrimChildren(msgspec.Struct, frozen=True, tag="trim", forbid_unknown_fields=True):
    """Ask the workers at a path to give back what memory they can; answered when they were told."""

    path: Path


class RecycleTemplate(
    msgspec.Struct, frozen=True, tag="recycle_template", forbid_unknown_fields=True
):
    """Have another template take over from the one of the release; answered when it has begun.

    The workers that run keep their process, and their template until they have gone.
    """

    cause: Annotated[str, msgspec.Meta(pattern="^[a-z_]{1,40}$")] = "recycled"


class Reload(msgspec.Struct, frozen=True, tag="reload", forbid_unknown_fields=True):
    """Load the app anew and replace what has changed; answered when it is done.

    An app that does not load, or cannot take over, changes nothing. ``everything``: replace all
    workers, whether or not their code or spec has changed.
    """

    everything: bool = False


#: What can be done to a queue, and to its dead letters.
QueueVerb = Literal[
    "stats",
    "pause",
    "resume",
    "squeeze",
    "relax",
    "drain",
    "hold",
    "reopen",
    "purge",
    "peek",
    "dead_list",
    "dead_show",
    "dead_replay",
    "dead_discard",
    "over_memory",
    "out_of_memory",
]


class QueueCommand(msgspec.Struct, frozen=True, tag="queue", forbid_unknown_fields=True):
    """Ask the broker of the queues; answered with QueueAnswer.

    ``queue``: which; stats are of all. ``ids``: of dead letters; none: all, page by page, from
    ``offset`` on, at most ``limit``; of over_memory, pids that are about to be ended for that.
    A purge goes up to the message ``offset``; 0: the last one. ``worker``: of out_of_memory, slot
    and incarnation that the kernel has killed for that: "shop/web.0#2".
    """

    verb: QueueVerb
    queue: Annotated[str, msgspec.Meta(max_length=MAX_PATH)] = ""
    ids: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(max_length=MAX_IDS)] = []
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_IDS)] = 100
    worker: Annotated[str, msgspec.Meta(max_length=MAX_PATH)] = ""


Request = (
    Ping
    | GetSnapshot
    | RestartChildren
    | StopChildren
    | StartChildren
    | Scale
    | RecycleChildren
    | TrimChildren
    | RecycleTemplate
    | Reload
    | SetLogLevel
    | QueueCommand
)


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """It is there."""

    name: str
    pid: int


class SnapshotReply(msgspec.Struct, frozen=True, tag="snapshot"):
    """The state of the whole tree."""

    snapshot: Snapshot


class QueueAnswer(msgspec.Struct, frozen=True, tag="queue_answer"):
    """What the broker says, in MessagePack: not for root to understand."""

    body: bytes


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It was done: to ``changed``; ``failed``: path to reason, where it could not be."""

    message: str
    changed: list[str] = []
    failed: dict[str, str] = {}


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It was not done. ``code`` is a stable word; ``exit_code`` is what the CLI exits with.

    ``where``: "file:line" of what is wrong in the author's source.
    """

    code: str
    message: str
    hint: str = ""
    exit_code: int = 1
    where: str = ""


Reply = Pong | SnapshotReply | QueueAnswer | Done | Failed

encode = msgspec.msgpack.Encoder().encode
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def decode_request(payload: bytes) -> Request:
    """Decode what a client sent; raises ProtocolError."""
    try:
        return _request_decoder.decode(payload)
    except (ValueError, RecursionError) as error:  # DecodeError, bad UTF-8, deep nesting
        raise ProtocolError(f"not a request: {error}") from error


def decode_reply(payload: bytes) -> Reply:
    """Decode what the app sent; raises ProtocolError."""
    try:
        return _reply_decoder.decode(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a reply: {error}") from error
