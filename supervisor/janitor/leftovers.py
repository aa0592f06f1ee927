"""What dead workers leave behind: their temp directories, and core files.

Temp directories are removed once their process is gone for certain. Core files are counted where
the kernel's pattern says that they are in the directory a worker runs in, and the newest are kept.
"""

import os
import re
import stat
from collections.abc import Iterable

from supervisor.janitor.removal import Remover
from supervisor.janitor.sweep import Found, Keep, to_remove
from supervisor.janitor.task import Outcome
from supervisor.process.tempdir import is_abandoned

#: Seconds between two looks while nothing ends; after an end, at most; that one may take.
EVERY, SOON, DEADLINE = 600.0, 30.0, 60.0
#: Bytes of core files that are kept, in all.
MAX_CORES = 1 << 30
#: Entries of a directory that are looked at.
MAX_ENTRIES = 100_000
PATTERN, USES_PID = "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/core_uses_pid"
#: What the kernel writes for a letter after "%": numbers; or names, in which "/" becomes "!".
_NUMBERS = frozenset("cdgiIpPstu")
#: An ELF file's type is at this offset, little- or big-endian; 4 is a core.
_ELF, _TYPE_AT, _CORE = b"\x7fELF", 16, (b"\x04\x00", b"\x00\x04")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_abandoned(base: str) -> Outcome:
    """Remove the temp directories of the dead: of this run, and of those before.

    Raises:
        OSError: the directory cannot be read, or is a symbolic link.

    """
    top = os.open(base, _DIRECTORY)
    try:
        with os.scandir(top) as entries:
            names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        remover = Remover(top)
        removed = 0
        for name in names:
            if remover.tired:
                break
            if is_abandoned(name) and remover.remove(name):
                removed += 1
    finally:
        os.close(top)
    problem = f"{remover.problems} files cannot be removed" if remover.problems else ""
    left = len(names) - removed
    return Outcome(removed, remover.bytes, None, left, problem, more=remover.tired)


# --- core files -------------------------------------------------------------------------------


def kernel_pattern() -> tuple[str, bool]:
    """Return how the kernel names core files, and whether it adds the pid."""
    try:
        with open(PATTERN) as pattern, open(USES_PID) as uses_pid:
            return pattern.read().rstrip("\n"), uses_pid.read().strip() != "0"
    except OSError:
        return "|", False  # unknown, as if a program took them


def core_name(pattern: str, uses_pid: bool) -> re.Pattern[str] | None:
    """Return what the names of core files match in the directory that the process was in.

    None: they are somewhere else. A program takes them, or one directory takes those of the whole
    machine, where it is not for us to say which are too many.
    """
    if "/" in pattern or pattern.startswith("|") or not pattern:
        return None
    parts = []
    for literal, letter in re.findall(r"([^%]+)|%(.?)", pattern):
        if literal:
            parts.append(re.escape(literal))
        elif letter == "%":
            parts.append("%")
        elif letter in _NUMBERS:
            parts.append(r"\d+")
        elif letter in "efhE":
            parts.append(".*")
    if uses_pid and "%p" not in pattern:
        parts.append(r"(\.\d+)?")
    return re.compile("".join(parts))


def prune_cores(directories: Iterable[str], most: int) -> Outcome:
    """Keep the ``most`` newest core files of directories that workers run in; remove the others."""
    name = core_name(*kernel_pattern())
    if name is None:
        return Outcome()
    return prune(directories, name, Keep(max_bytes=MAX_CORES, max_files=most))


def prune(directories: Iterable[str], name: re.Pattern[str], keep: Keep) -> Outcome:
    """Keep some core files.

    Args:
        directories: where they are.
        name: what their names match; a file that is no core is none, whatever its name.
        keep: how many, all directories together.

    """
    open_ones: dict[str, int] = {}
    try:
        for path in directories:
            try:
                open_ones[path] = os.open(path, _DIRECTORY)
            except OSError:
                continue
        cores = [core for path, fd in open_ones.items() for core in _cores(path, fd, name)]
        removed = removed_bytes = problems = 0
        for core in to_remove(cores, keep, 0.0):
            path, _, file = core.path.rpartition("/")
            try:
                os.unlink(file, dir_fd=open_ones[path])
            except OSError:
                problems += 1
                continue
            removed, removed_bytes = removed + 1, removed_bytes + core.size
    finally:
        for fd in open_ones.values():
            os.close(fd)
    left = sum(core.size for core in cores) - removed_bytes
    problem = f"{problems} core files cannot be removed" if problems else ""
    return Outcome(removed, removed_bytes, left, len(cores) - removed, problem)


def _cores(path: str, directory: int, name: re.Pattern[str]) -> list[Found]:
    found = []
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries):
            if number >= MAX_ENTRIES:
                break
            if name.fullmatch(entry.name) and _is_core(directory, entry.name):
                info = os.stat(entry.name, dir_fd=directory, follow_symlinks=False)
                found.append(Found(f"{path}/{entry.name}", info.st_blocks * 512, info.st_mtime))
    return found


def _is_core(directory: int, name: str) -> bool:
    """Whether a file is a core file; who else may write here cannot make us remove another."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=directory)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
        head = os.pread(fd, _TYPE_AT + 2, 0)
    except OSError:
        return False
    finally:
        os.close(fd)
    return head.startswith(_ELF) and head[_TYPE_AT:] in _CORE
