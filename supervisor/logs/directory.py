"""Safe handling of a directory of log files: ours alone, never through a link that was planted.

Everything is reached by descriptor from the log directory down, with O_NOFOLLOW, and looked at
before it is used. Something else under the name of a log file (a link, a FIFO, a file with a second
name or of another user) is never opened: the name is taken from it.
"""

import os
import stat

from supervisor.logs.rotation import Create, Rename, Step, SyncDirectory, Unlink, parse

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: Levels of directories below the log directory at most.
MAX_DEPTH = 32


class UnsafeLogsError(OSError):
    """The directory may be written by others, or is not ours."""


def open_root(path: str) -> int:
    """Open the log directory, making it (0700) and what is above it.

    Raises:
        UnsafeLogsError: others may write there, or it belongs to somebody else.
        OSError: it cannot be made or used.

    """
    path = os.path.abspath(path)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
        created = True
    except FileExistsError:
        created = False
    fd = os.open(path, _DIRECTORY)
    try:
        if created:
            os.fchmod(fd, 0o700)  # a umask may have taken some of it
        info = os.fstat(fd)
        if info.st_uid != os.geteuid():
            raise UnsafeLogsError(f"{path} belongs to uid {info.st_uid}, not to us")
        if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UnsafeLogsError(f"{path} can be written by others; chmod 700 {path}")
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_below(root: int, path: str, *, create: bool = True) -> int:
    """Open a directory below another, level by level, following no link."""
    fd = os.dup(root)
    try:
        for part in path.split("/")[:MAX_DEPTH]:
            if create:
                try:
                    os.mkdir(part, 0o700, dir_fd=fd)
                except FileExistsError:
                    pass
            below = os.open(part, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
    except BaseException:
        os.close(fd)
        raise
    return fd


def own_files(directory: int) -> dict[str, os.stat_result]:
    """Look at the files that are ours by name; what only pretends to be is removed."""
    found = {}
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if parse(entry.name) is not None]
    for name in names:
        try:
            info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if is_ours(info):
            found[name] = info
        else:
            take_name(directory, name, info)
    return found


def is_ours(info: os.stat_result) -> bool:
    """Whether it is a plain file of ours that nobody knows under another name."""
    return stat.S_ISREG(info.st_mode) and info.st_nlink == 1 and info.st_uid == os.geteuid()


def take_name(directory: int, name: str, info: os.stat_result) -> None:
    """Remove what was planted under the name of a log file; what it led to is not touched."""
    if stat.S_ISDIR(info.st_mode):
        os.rmdir(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)


def open_file(directory: int, name: str) -> int:
    """Open a log file for reading and writing.

    Raises:
        UnsafeLogsError: it is not a plain file of ours.

    """
    fd = os.open(name, _FILE, dir_fd=directory)
    if not is_ours(os.fstat(fd)):
        os.close(fd)
        raise UnsafeLogsError(f"{name} is not a plain file of ours")
    return fd


def create_file(directory: int, name: str) -> int:
    """Make a log file, which must not exist, and open it."""
    return os.open(name, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)


def perform(directory: int, step: Step) -> None:
    """Do one step of a rotation or a repair."""
    match step:
        case Rename(old, new):
            os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)
        case Create(name):
            os.close(create_file(directory, name))
        case Unlink(name):
            remove(directory, name)
        case SyncDirectory():
            os.fsync(directory)


def remove(directory: int, name: str) -> None:
    """Delete a file, if it is still there."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass


def children_of(root: int) -> list[str]:
    """List the paths below the log directory that have log files."""
    found: set[str] = set()
    waiting = [""]
    while waiting:
        path = waiting.pop()
        try:
            fd = open_below(root, path, create=False) if path else os.dup(root)
        except OSError:  # a link, or it went away
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False) and path.count("/") < MAX_DEPTH:
                        waiting.append(f"{path}/{entry.name}".lstrip("/"))
                    elif path and path not in found and parse(entry.name) is not None:
                        found.add(path)
        finally:
            os.close(fd)
    return sorted(found)
