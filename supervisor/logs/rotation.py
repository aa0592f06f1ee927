"""The rotation of one child's log file, and its repair: names and steps, pure.

    current.jsonl ──rename──► @STAMP.u ──compress──► @STAMP.s.zst.tmp ──rename──► @STAMP.s.zst
    current.jsonl (new, O_EXCL)          └────────── unlinked last ─────────────────────┘

(s6-log's states.) Whatever step a crash comes after, each line is in exactly one file that counts:
``current``, ``.u`` without its ``.s``, or ``.s``. The stamp is when the file was closed, in
microseconds since 1970, and larger than any before it in the same directory: the order of names is
the order of lines. Its last four digits count the files of the directory: whoever reads them one
after the other sees when some were deleted between two. Files of raw bytes are called
``current.log``, ``@STAMP.log.u`` and so on.
"""

import re
from collections.abc import Iterable
from enum import Enum

import msgspec

#: The part of a stamp that counts files; so many microseconds a stamp may be too large.
SEQUENCE = 10_000
#: Suffix of a compressed file by codec.
CODECS = {"zstd": "zst", "gzip": "gz"}

_NAME = re.compile(r"@(\d{16})(\.log)?\.(u|s\.(?:zst|gz)|s\.(?:zst|gz)\.tmp)")
#: Other files that are ours: those being written, and such as were not rotated by us.
_CURRENT = {"current.jsonl": False, "current.log": True}


class State(Enum):
    """How far a file has come."""

    CURRENT = "current"
    UNCOMPRESSED = "u"
    COMPRESSED = "s"
    UNFINISHED = "tmp"


class Name(msgspec.Struct, frozen=True, order=True):
    """What the name of a file says. ``stamp`` 0: the one being written."""

    stamp: int
    text: str
    raw: bool = False

    @property
    def state(self) -> State:
        """How far it has come."""
        if not self.stamp:
            return State.CURRENT
        if self.text.endswith(".tmp"):
            return State.UNFINISHED
        return State.UNCOMPRESSED if self.text.endswith(".u") else State.COMPRESSED

    @property
    def codec(self) -> str | None:
        """How it is compressed."""
        for codec, suffix in CODECS.items():
            if self.text.removesuffix(".tmp").endswith("." + suffix):
                return codec
        return None


def current_name(raw: bool = False) -> str:
    """Return the name of the file being written."""
    return "current.log" if raw else "current.jsonl"


def parse(text: str) -> Name | None:
    """Read a file's name; None: it is not ours."""
    if text in _CURRENT:
        return Name(0, text, _CURRENT[text])
    match = _NAME.fullmatch(text)
    return Name(int(match[1]), text, match[2] is not None) if match else None


def next_stamp(now: float, last: int) -> int:
    """Return the stamp of a file closed now, when the last one had that stamp.

    It is not before now, so that nothing in the file is newer than the file.
    """
    stamp = -(-int(now * 1e6) // SEQUENCE) * SEQUENCE + (last + 1) % SEQUENCE
    return stamp if stamp > last else last + 1


def between(stamp: int, last: int) -> int:
    """Return how many files were closed between two, as far as that can be counted."""
    return (stamp - last - 1) % SEQUENCE


def rotated_name(stamp: int, raw: bool = False) -> str:
    """Return the name of a file that was closed and is not compressed yet."""
    return f"@{stamp:016d}{'.log' if raw else ''}.u"


def compressed_name(rotated: str, codec: str) -> str:
    """Return the name of the compressed file of a rotated one."""
    return f"{rotated.removesuffix('.u')}.s.{CODECS[codec]}"


class Rename(msgspec.Struct, frozen=True, tag="rename"):
    """Give a file another name, which nothing has."""

    old: str
    new: str


class Create(msgspec.Struct, frozen=True, tag="create"):
    """Make the file to be written; it must not exist."""

    name: str


class Unlink(msgspec.Struct, frozen=True, tag="unlink"):
    """Delete a file."""

    name: str


class SyncDirectory(msgspec.Struct, frozen=True, tag="sync_directory"):
    """Make what was done to names last."""


Step = Rename | Create | Unlink | SyncDirectory


def rotate(current: str, stamp: int) -> list[Step]:
    """Close the file being written and begin a new one."""
    return [Rename(current, rotated_name(stamp, _CURRENT[current])), Create(current)]


def finish(rotated: str, codec: str) -> list[Step]:
    """Put a compressed file, complete and synced under its ``.tmp`` name, in its place."""
    name = compressed_name(rotated, codec)
    return [Rename(name + ".tmp", name), SyncDirectory(), Unlink(rotated)]


def repair(names: Iterable[str], current: str, stamp: int) -> list[Step]:
    """Finish or redo what a crash has interrupted; afterwards ``current`` exists.

    Args:
        names: of all files in the directory.
        current: the file that is going to be written; one of the other kind is rotated.
        stamp: larger than that of any file there.

    """
    known = [name for name in map(parse, names) if name is not None]
    finished = {(n.stamp, n.raw) for n in known if n.state is State.COMPRESSED}
    steps: list[Step] = []
    exists = False
    for name in sorted(known):
        match name.state:
            case State.UNFINISHED:
                steps.append(Unlink(name.text))
            case State.UNCOMPRESSED if (name.stamp, name.raw) in finished:
                steps.append(Unlink(name.text))
            case State.CURRENT if name.text == current:
                exists = True
            case State.CURRENT:
                steps.append(Rename(name.text, rotated_name(stamp, name.raw)))
    return steps if exists else [*steps, Create(current)]


def last_stamp(names: Iterable[str]) -> int:
    """Return the largest stamp among files."""
    return max((name.stamp for name in map(parse, names) if name is not None), default=0)
