"""The disk budget of all log files: who may grow, who rotates, and who is deleted first. Pure.

The budget counts the files being written, the archives and the ballast; what a compressor has under
way, one file at a time, comes on top of it. ``keep_free`` is a floor under the file system's free
space: where it is violated already, the files take no more room than they have.
"""

from collections.abc import Mapping, Sequence

import msgspec

KiB, MiB, GiB = 1024, 1024**2, 1024**3

MIN_SEGMENT, MAX_SEGMENT = 64 * KiB, 16 * MiB
#: A file's share of the budget is this many segments.
SEGMENTS = 8
MAX_BALLAST = 4 * MiB
LAST = MiB


class Limits(msgspec.Struct, frozen=True):
    """Sizes in bytes, times in seconds. None: worked out from the file system and the children.

    ``max_use``: of all files together; ``keep_free``: left free on the file system; ``segment``:
    of one file before it is rotated; ``segment_age``: before it is rotated anyway; ``retention``:
    before an archive is deleted.
    """

    max_use: int | None = None
    keep_free: int | None = None
    segment: int | None = None
    segment_age: float = 24 * 3600.0
    retention: float = 14 * 24 * 3600.0


class Archive(msgspec.Struct, frozen=True):
    """A file that is no longer written. ``stamp``: when it was closed, in microseconds."""

    name: str
    stamp: int
    size: int


class Holdings(msgspec.Struct):
    """One child's files: the bytes of the one being written, and its archives, oldest first."""

    active: int = 0
    archives: list[Archive] = msgspec.field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return self.active + sum(archive.size for archive in self.archives)


def max_use(limits: Limits, fs_size: int) -> int:
    """Return the bytes that all files may take together."""
    return min(fs_size // 10, GiB) if limits.max_use is None else limits.max_use


def keep_free(limits: Limits, fs_size: int) -> int:
    """Return the bytes that stay free on the file system."""
    return min(fs_size * 15 // 100, 4 * GiB) if limits.keep_free is None else limits.keep_free


def allowance(most: int, floor: int, used: int, free: int) -> int:
    """Return the bytes that all files may take now: the smaller of the two limits wins.

    A last megabyte is always allowed: the disk itself says when it is full.
    """
    return min(most, max(used + max(0, free - floor), LAST))


def segment_size(limits: Limits, most: int, children: int) -> int:
    """Return the bytes after which a file is rotated.

    One file being written and one being compressed, for each child, always fit into the budget.
    """
    children = max(1, children)
    if limits.segment is None:
        size = min(max(most // (SEGMENTS * children), MIN_SEGMENT), MAX_SEGMENT)
    else:
        size = limits.segment
    return max(1, min(size, most // (2 * children)))


def ballast(most: int) -> int:
    """Return the bytes held back so that there is room for the last words on a full disk."""
    return min(MAX_BALLAST, most // 32)


def next_eviction(
    children: Mapping[str, Holdings], most: int, *, spare_the_last: bool = True
) -> tuple[str, Archive] | None:
    """Choose the archive to delete next: the oldest of the child furthest over its fair share.

    ``spare_the_last``: leave each child one archive; only an emergency takes the last.
    """
    share = most / max(1, len(children))
    least = 1 if spare_the_last else 0
    candidates = {name: held for name, held in children.items() if len(held.archives) > least}
    if not candidates:
        return None
    name = max(candidates, key=lambda child: (candidates[child].size - share, child))
    return name, candidates[name].archives[0]


def expired(archives: Sequence[Archive], retention: float, now: float) -> list[Archive]:
    """Return the archives that are older than is wanted."""
    return [archive for archive in archives if archive.stamp / 1e6 + retention <= now]
