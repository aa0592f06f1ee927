"""What root tells the log pump over its link, besides the request to stop."""

import msgspec

from supervisor.link import DirectoryMade, StopRequest
from supervisor.logs.bucket import Rate
from supervisor.logs.budget import Limits

#: Processes of a slot that are remembered: lines of those before may still be in the pipe.
REMEMBERED = 4


class Process(msgspec.Struct, frozen=True, tag="process"):
    """Who writes to the pipes of a path from now on; those that leave a mark say it themselves.

    See `supervisor.logs.marks`.
    """

    path: str
    pid: int
    incarnation: int


class Source(msgspec.Struct, frozen=True, tag="source", omit_defaults=True):
    """Read a pipe from now on; its read end (non-blocking) is attached.

    ``path``: the slot that writes to it; ``stream``: "stdout" or "stderr". ``writers``: the last
    that have written to it, in order: a new pump has not seen what was marked.
    """

    id: int
    path: str
    stream: str
    writers: list[Process] = []


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """The slot is gone: take what is in its pipe, then close it."""

    id: int


class Floor(msgspec.Struct, frozen=True, tag="floor"):
    """Show records of this level and above of a path and all below it; None: as usual again."""

    path: str
    level: str | None


ToPump = Source | Process | Forget | Floor | DirectoryMade | StopRequest


class FileOptions(msgspec.Struct, frozen=True):
    """Where and how lines are kept. ``format``: "json" (wrapped lines) or "raw" (their bytes)."""

    directory: str
    format: str = "json"
    limits: Limits = Limits()
    rate: Rate = Rate()
    compress: bool = True


class PumpOptions(msgspec.Struct, frozen=True):
    """How the pump prints, and what it keeps.

    ``format``: "pretty", "json", or "none"; ``level``: the least that is shown; ``files`` None:
    nothing is kept. ``directory``: the runtime directory, where figures go; "": nowhere.
    """

    format: str = "json"
    colour: bool = False
    level: str = "INFO"
    files: FileOptions | None = None
    directory: str = ""
