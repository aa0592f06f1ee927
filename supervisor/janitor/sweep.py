"""Sweeping a directory: which files go, decided as data, and their removal.

Nothing outside of the directory is touched: every step is made relative to an open directory, and
symbolic links are never followed. What cannot be removed is counted and left.
"""

import os
import stat
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

#: Files that one sweep looks at; what is beyond is for the next.
MAX_FILES = 200_000
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Found:
    """One file below the directory. ``at``: when it was last written to, Unix seconds."""

    path: str  # relative to the directory
    size: int
    at: float


@dataclass(frozen=True, slots=True)
class Keep:
    """The limits of what is left. None: any."""

    max_age: float | None = None
    max_bytes: int | None = None
    max_files: int | None = None


@dataclass(slots=True)
class Swept:
    """What a sweep has done, and left. ``problems``: files that could not be removed."""

    removed: int = 0
    removed_bytes: int = 0
    files: int = 0
    bytes: int = 0
    problems: int = 0


def to_remove(files: Iterable[Found], keep: Keep, now: float) -> list[Found]:
    """Return the files that have to go: the too old, then the oldest until the rest fits."""
    newest_first = sorted(files, key=lambda file: (-file.at, file.path))
    count = size = 0
    doomed: list[Found] = []
    for file in newest_first:
        too_old = keep.max_age is not None and now - file.at > keep.max_age
        too_many = keep.max_files is not None and count + 1 > keep.max_files
        too_large = keep.max_bytes is not None and size + file.size > keep.max_bytes
        if too_old or too_many or too_large or doomed:  # what is older than a doomed one goes too
            doomed.append(file)
        else:
            count, size = count + 1, size + file.size
    return doomed[::-1]


def sweep(directory: str, keep: Keep, now: float) -> Swept:
    """Remove what is too much; a directory that is not there has nothing.

    Raises:
        OSError: it cannot be read, or is a symbolic link.

    """
    swept = Swept()
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return swept
    try:
        with closing(_files(root, "", 0)) as found:
            files = list(islice(found, MAX_FILES))
        doomed = to_remove(files, keep, now)
        swept.files, swept.bytes = len(files), sum(file.size for file in files)
        for file in doomed:
            if _remove(root, file.path):
                swept.removed += 1
                swept.removed_bytes += file.size
            else:
                swept.problems += 1
        swept.files -= swept.removed
        swept.bytes -= swept.removed_bytes
        if keep.max_age is not None:
            _remove_empty(root, now - keep.max_age, 0)
    finally:
        os.close(root)
    return swept


def _files(directory: int, prefix: str, depth: int) -> Generator[Found]:
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(info.st_mode):
                yield Found(prefix + entry.name, info.st_size, info.st_mtime)
            elif stat.S_ISDIR(info.st_mode) and depth < MAX_DEPTH:
                below = _open(directory, entry.name)
                if below is not None:
                    try:
                        yield from _files(below, f"{prefix}{entry.name}/", depth + 1)
                    finally:
                        os.close(below)


def _open(directory: int, name: str) -> int | None:
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=directory)
    except OSError:
        return None


def _remove(root: int, path: str) -> bool:
    """Remove a file, going down from the root without following a link on the way."""
    *folders, name = path.split("/")
    here = os.dup(root)
    try:
        for folder in folders:
            below = _open(here, folder)
            if below is None:
                return False
            os.close(here)
            here = below
        os.unlink(name, dir_fd=here)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    finally:
        os.close(here)
    return True


def _remove_empty(directory: int, before: float, depth: int) -> None:
    """Remove empty directories that were last changed before a time."""
    with os.scandir(directory) as entries:
        folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in folders:
        below = _open(directory, name)
        if below is None:
            continue
        try:
            is_old = os.fstat(below).st_mtime < before
            if depth < MAX_DEPTH:
                _remove_empty(below, before, depth + 1)
        finally:
            os.close(below)
        if is_old:
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError:  # it is not empty
                pass
