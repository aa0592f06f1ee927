"""The directory of reports: what is in it, and what has to go.

A report is written under another name and then renamed, so under its own there never is half of
one. What was left half-written by a process that died is removed by the next look.
"""

import errno
import os
import stat
from collections.abc import Iterable

import msgspec

from supervisor.crashes.report import Work
from supervisor.janitor.sweep import Found, Keep, to_remove

#: A hundred reports, 64 MiB in all, thirty days.
KEEP = Keep(max_age=30 * 86_400.0, max_bytes=64 << 20, max_files=100)
#: Of one kind the first and the last so many are kept.
FIRST, LAST = 3, 3
#: Bytes of a report at most; and of a file that is read.
MAX_BYTES, MAX_READ = 256 << 10, 1 << 20
#: Files that are looked at.
MAX_LISTED = 10_000
ENDING, UNFINISHED = ".json", ".new"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Kept(msgspec.Struct, frozen=True):
    """What is to be known of each report. ``file``, ``size``: of its file.

    Reports of leaks have only ``path`` and ``at``; their id is their file's name.
    """

    path: str
    at: float
    id: str = ""
    headline: str = ""
    child: str = ""
    slot: int = 0
    generation: int = 0
    pid: int | None = None
    cause: str = "leak"
    fingerprint: str = ""
    count: int = 1
    work: Work | None = None
    file: str = ""
    size: int = 0


_decode = msgspec.json.Decoder(Kept).decode


def listed(directory: str) -> list[Kept]:
    """List the reports, the oldest first; what is none is passed over.

    Raises:
        OSError: the directory cannot be read.

    """
    with os.scandir(directory) as entries:
        names = [one.name for one, _ in zip(entries, range(MAX_LISTED), strict=False)]
    found = [kept for name in names if name.endswith(ENDING) and (kept := _look(directory, name))]
    return sorted(found, key=lambda kept: (kept.at, kept.file))


def _look(directory: str, name: str) -> Kept | None:
    try:
        return summary(name, read(directory, name))
    except (OSError, msgspec.DecodeError, ValueError):
        return None


def summary(name: str, content: bytes) -> Kept:
    """Return what is to be known of a report, by its file.

    Raises:
        msgspec.DecodeError: it is none.

    """
    kept = _decode(content)
    known = kept.id or name.removesuffix(ENDING)
    headline = kept.headline or f"{kept.path} is recycled over and over"
    return msgspec.structs.replace(kept, id=known, headline=headline, file=name, size=len(content))


def read(directory: str, name: str) -> bytes:
    """Read a report.

    Raises:
        OSError: it is not there, or is no plain file.

    """
    fd = os.open(os.path.join(directory, name), _READ)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError(name)
        return os.read(fd, MAX_READ)
    finally:
        os.close(fd)


def write(directory: str, name: str, content: bytes) -> None:
    """Write a report, whole or not at all; the directory is made anew if it is gone.

    Raises:
        OSError: it cannot be written; nothing of it is left.

    """
    os.makedirs(os.path.realpath(directory), 0o700, exist_ok=True)
    path = os.path.join(directory, name)
    unfinished = os.path.join(directory, f".{name}{UNFINISHED}")
    fd = os.open(unfinished, _WRITE, 0o600)
    try:
        with open(fd, "wb", buffering=0) as file:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.rename(unfinished, path)
    except OSError:
        remove(directory, [os.path.basename(unfinished)])
        raise


def doomed(kept: Iterable[Kept], now: float) -> list[Kept]:
    """Return the reports that have to go: of too many of a kind those in the middle, then the
    oldest of all. ``now``: Unix seconds.
    """
    kinds: dict[str, list[Kept]] = {}
    for one in sorted(kept, key=lambda one: (one.at, one.file)):
        kinds.setdefault(one.fingerprint or one.file, []).append(one)
    gone = [one for kind in kinds.values() for one in kind[FIRST:-LAST]]
    left = {one.file: one for kind in kinds.values() for one in kind[:FIRST] + kind[FIRST:][-LAST:]}
    files = [Found(one.file, one.size, one.at) for one in left.values()]
    return gone + [left[file.path] for file in to_remove(files, KEEP, now)]


def remove(directory: str, names: Iterable[str]) -> int:
    """Remove files, and return how many cannot be; those that are gone already are."""
    problems = 0
    for name in names:
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:
            continue
        except OSError:
            problems += 1
    return problems


def remove_unfinished(directory: str) -> None:
    """Remove what a process that died while it wrote has left. Only for the one who writes."""
    with os.scandir(directory) as entries:
        names = [one.name for one in entries if one.name.endswith(UNFINISHED)]
    remove(directory, [name for name in names if name.startswith(".")])
