"""What root tells the log pump over its link, besides the request to stop."""

import msgspec

from supervisor.link import StopRequest


class Source(msgspec.Struct, frozen=True, tag="source"):
    """Read a pipe from now on; its read end (non-blocking) is attached.

    ``path``: the slot that writes to it; ``stream``: "stdout" or "stderr".
    """

    id: int
    path: str
    stream: str


class Process(msgspec.Struct, frozen=True, tag="process"):
    """Who writes to the pipes of a path from now on."""

    path: str
    pid: int
    incarnation: int


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """The slot is gone: take what is in its pipe, then close it."""

    id: int


ToPump = Source | Process | Forget | StopRequest


class PumpOptions(msgspec.Struct, frozen=True):
    """How the pump prints. ``format``: "pretty" or "json"; ``level``: the least that is shown."""

    format: str = "json"
    colour: bool = False
    level: str = "INFO"
