"""What a process has to know to become a child: travels from a supervisor through a template.

A template passes it on unopened; the forked process decodes it. A spare gets only the kind of child
that it is likely to become, if that is known, and which one it is later, over its link.
"""

from functools import lru_cache

import msgspec

from supervisor.definition import Settings


class Node(msgspec.Struct, frozen=True, tag="node"):
    """Run the target of the Child at ``path`` ("shop/charge") of the app's tree."""

    path: str


class Entry(msgspec.Struct, frozen=True, tag="entry"):
    """Run "module:function"(link, argument, fds): the runtime's own processes."""

    function: str
    argument: bytes = b""


class Command(msgspec.Struct, frozen=True, tag="command"):
    """Execute a program."""

    argv: list[str]


class Kind(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is the same for all starts of all slots of a child.

    ``fds`` names the declared descriptors, in the order in which they are sent behind link, stdout
    and stderr ("queues": an O_PATH descriptor of the broker's socket; connect to /proc/self/fd/N:
    all workers of an app that has queues get it). docs/restarts.md lists what a worker has open.
    """

    run: Node | Entry | Command
    app: str = ""  # "module:attribute" of the tree
    code: str = ""  # the version of it that the tree was made from; "": it is not imported afresh
    settings: Settings = Settings()
    ready: str = "init"
    heartbeat: float | None = None
    stall_timeout: float | None = None
    queue: str | None = None
    fds: list[str] = []
    log_level: str = "INFO"


class Launch(msgspec.Struct, frozen=True):
    """One start of one child. ``path`` names its slot ("shop/charge.0").

    ``marks``: say in the log pipes who writes from there on (`supervisor.logs.marks`).
    """

    path: str
    incarnation: int
    kind: Kind
    marks: bool = False


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Launch).decode
#: A template decodes a kind before it forks: then its fork finds it decoded.
decode_kind = lru_cache(8)(msgspec.msgpack.Decoder(Kind).decode)
