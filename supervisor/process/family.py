"""Descendants: knowing to whom an orphan belonged, and leaving none behind.

A template and root are child subreapers: a process whose parent ended becomes their child. To know
whose descendant it was, every worker carries a *tag* that it cannot lose by accident: a number in
its soft RLIMIT_LOCKS. The kernel has not used that limit since 2.4, and a limit is inherited over
fork and exec, whatever else a process does (setsid, double fork, an empty environment, closing of
descriptors). Linux only.
"""

import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
RLIMIT_LOCKS = 10

#: Bytes of a list of children that has no second part: the kernel fills a page before it ends one.
WHOLE = 2048

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def prctl(option: int, argument: int) -> None:
    """Call prctl(2); raises OSError."""
    if _prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {argument})")


def become_subreaper() -> None:
    """Adopt the orphans of our descendants, from now on."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent does; end now if that has happened.

    A change of user makes the kernel forget it: it has to be asked for again.
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def wake_with_parent() -> None:
    """Have the kernel continue this process when its parent dies: stopped, it could not end."""
    prctl(PR_SET_PDEATHSIG, signal.SIGCONT)


def first_tag() -> int:
    """Return where this template's tags begin: no other template has the same."""
    return os.getpid() << 32


def template_of(tag: int) -> int:
    """Return the pid of the template that gave out a tag."""
    return tag >> 32


def set_tag(tag: int) -> None:
    """Mark this process and all that will descend from it."""
    _soft, hard = resource.getrlimit(RLIMIT_LOCKS)
    resource.setrlimit(RLIMIT_LOCKS, (tag, hard))


def own_tag() -> int:
    """Return the mark of this process."""
    return resource.getrlimit(RLIMIT_LOCKS)[0]


def tag_of(pid: int) -> int | None:
    """Return the tag of a process; None if it is gone."""
    try:
        return resource.prlimit(pid, RLIMIT_LOCKS)[0]
    except ProcessLookupError:
        return None
    except PermissionError:  # it became another user
        return _tag_from_proc(pid)


def _tag_from_proc(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/limits") as limits:
            line = next(line for line in limits if line.startswith("Max file locks"))
    except (OSError, StopIteration):
        return None
    soft = line.split()[3]
    return int(soft) if soft.isdigit() else None


class Children:
    """The children of this process, zombies too; it has to be single-threaded."""

    def __init__(self) -> None:
        self._fd = -1
        try:
            path = f"/proc/self/task/{os.getpid()}/children"
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # no /proc, or a kernel without it: orphans are then not found
            pass

    def __len__(self) -> int:
        return self._listing().count(b" ")  # one behind each number

    def pids(self) -> set[int]:
        """Return their numbers, as they are now."""
        return set(map(int, self._listing().split()))

    def _listing(self) -> bytes:
        listing = b""
        while self._fd >= 0:
            part = os.pread(self._fd, 1 << 16, len(listing))
            listing += part
            if len(part) < WHOLE:
                break
        return listing

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)


def children() -> set[int]:
    """Return the pids of our children, once: see `Children`."""
    found = Children()
    try:
        return found.pids()
    finally:
        found.close()


def kill(pid: int) -> None:
    """SIGKILL a child of ours that has not been reaped: its number cannot be another's."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it made itself another user's (sudo)
        pass


def kill_with_group(pid: int) -> None:
    """SIGKILL an orphan and its group: at once, so that it cannot go on forking meanwhile.

    Whoever is in its group is in its session, so descends from the same process of ours as it does.
    """
    kill(pid)
    try:
        group = os.getpgid(pid)
        if group != os.getpgrp():
            os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def sweep_orphans(known: set[int], templates: set[int] | None = None) -> int:
    """Kill and reap every child that is not a known one; returns how many were reaped.

    For a subreaper that expects no orphans: whatever was adopted lost the template it belonged to.
    Called again for each SIGCHLD, until there are none.

    Args:
        known: children to leave alone.
        templates: kill only what these templates, dead or alive, have started. Others are
            strangers: root was executed in place of their parent, or is the init of a container.
            They are reaped when they end, and that is all.

    """
    reaped = 0
    for pid in children() - known:
        if _is_orphan_of(pid, templates):
            kill(pid)
        try:
            reaped += os.waitpid(pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            pass
    return reaped


def has_orphans(known: set[int], templates: set[int]) -> bool:
    """Whether `sweep_orphans` has to be called again: some have not died yet."""
    return any(_is_orphan_of(pid, templates) for pid in children() - known)


def _is_orphan_of(pid: int, templates: set[int] | None) -> bool:
    if templates is None:
        return True
    tag = tag_of(pid)
    return tag is not None and template_of(tag) in templates
