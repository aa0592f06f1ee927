"""The roster of an app's templates: so that nothing outlives all who would have ended it.

What has escaped from the workers of a template that is killed, root ends; what belongs to a root
that is killed, its templates end. If both are killed at once, daemons are left to nobody. So each
template enters its pid in a file of the runtime directory, and two look there: a template that has
survived its root, before it ends; and the next run of the app, in case that all were killed.

What carries the tag of a template that is dead is killed. The number may be used again: whoever has
it and lives looks after its own, and in another pid namespace it means another process.
"""

import os
import select
import time
from contextlib import suppress

from supervisor.process.family import tag_of, template_of
from supervisor.process.roundup import round_up_those

FILE = "templates"
_NAMESPACE = "/proc/{}/ns/pid"
#: Among the flags of a process: it is ending (PF_EXITING).
_EXITING = 4


def join() -> None:
    """Enter this template; root has told where the control socket is."""
    if directory := _directory():
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(os.path.join(directory, FILE), flags, 0o600)
            with os.fdopen(fd, "w") as roster:
                roster.write(f"{os.getpid()}\n")


def sweep(directory: str | None = None, patience: float = 0.0) -> int:
    """Kill what dead templates have left behind; returns how many processes that were.

    Args:
        directory: the runtime directory; None: that of the app that this process belongs to.
        patience: seconds for templates that are about to end.

    """
    directory = directory or _directory()
    entered = _entered(directory) - {os.getpid()} if directory else set()
    deadline = time.monotonic() + patience
    dead = {pid for pid in entered if _is_dead(pid) or _ends_before(pid, deadline)}
    return round_up_those(lambda pid: _is_of(pid, dead)) if dead else 0


def forget(directory: str) -> None:
    """Remove the file: all that it names is over."""
    with suppress(OSError):
        os.unlink(os.path.join(directory, FILE))


def _directory() -> str | None:
    control = os.environ.get("SUPERVISOR_CONTROL")
    return os.path.dirname(control) if control else None


def _entered(directory: str) -> set[int]:
    try:
        fd = os.open(os.path.join(directory, FILE), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return set()
    with os.fdopen(fd, errors="replace") as roster:
        return {int(line) for line in roster.read().split() if line.isdecimal()}


def _is_dead(pid: int) -> bool:
    """Whether there is no such process; one that is not reaped yet has its number still."""
    try:
        return _stat(pid)[0] == b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return os.path.exists("/proc/self")
    except OSError:
        return False


def is_ending(parent: int) -> bool:
    """Whether a process that was our parent has ended, or is about to.

    What it had open is closed a moment before its children are given to another parent.
    """
    if os.getppid() != parent:
        return True
    try:
        return bool(int(_stat(parent)[6]) & _EXITING)
    except OSError:
        return False


def _stat(pid: int) -> list[bytes]:
    """Return what the kernel says of a process, from its state on."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()


def _ends_before(pid: int, deadline: float) -> bool:
    if (left := deadline - time.monotonic()) <= 0:
        return False
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    ended = bool(poller.poll(left * 1000))
    os.close(fd)
    return ended


def _is_of(pid: int, templates: set[int]) -> bool:
    tag = tag_of(pid)
    if tag is None or template_of(tag) not in templates:
        return False
    try:
        return os.readlink(_NAMESPACE.format(pid)) == os.readlink(_NAMESPACE.format("self"))
    except OSError:
        return False
