"""What an app has left open when it is imported. With any of it a template must not fork.

A fork shares a descriptor with all others, a connection with its peer among them, so a worker keeps
none that it was not given. But the objects that own them live on in the copy, with numbers that
mean other files there sooner or later: what is written to a log file of the app's would stand in
another one, and closing it closes that. Imported afresh, the app opens its own.
"""

import contextlib
import gc
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.process.caller import caller

#: /dev/null, zero, full, random and urandom: no position, no peer, nothing that forks could get
#: into each other's way with.
STATELESS = frozenset(os.makedev(1, minor) for minor in (3, 5, 7, 8, 9))
#: How `multiprocessing` calls the file of memory that it shares: only its memory is ever used.
SHARED_MEMORY = "pym-"
#: Our streams: a worker has its own, whatever the app has done to them.
STREAMS = frozenset((0, 1, 2))
#: Numbers that are looked at where there is no /proc: the lowest free one is what is given out.
LOOKED_AT = 1024
#: Descriptors that are named.
MAX_NAMED = 10


@dataclass(slots=True)
class Imports:
    """What was open before the app was imported, and which sockets were made where since."""

    before: Mapping[int, str]
    places: dict[str, str] = field(default_factory=dict)  # by what a descriptor refers to

    def left(self) -> dict[int, str]:
        """Return the descriptors that the app has left open, and what each refers to."""
        found = opened(self.before, listing())
        if found:
            gc.collect()  # what nobody knows any more is not left open
            found = opened(self.before, listing())
        return found

    def named(self, left: Mapping[int, str]) -> list[str]:
        """Describe them, a bounded number."""
        names = [self._named(fd, target) for fd, target in list(left.items())[:MAX_NAMED]]
        return [*names, f"{len(left) - MAX_NAMED} more"] if len(left) > MAX_NAMED else names

    def _named(self, fd: int, target: str) -> str:
        place = self.places.get(target)
        return f"{described(fd, target)}, opened by {place}" if place else described(fd, target)


@contextlib.contextmanager
def watched() -> Iterator[Imports]:
    """Note what is open now, and where sockets are made meanwhile."""
    imports = Imports(listing())
    kind = socket.socket  # the app may put another one in its place
    init = kind.__init__

    def noting(sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        init(sock, *args, **kwargs)
        imports.places[target_of(sock.fileno())] = caller()

    kind.__init__ = noting  # type: ignore[method-assign, assignment]
    try:
        yield imports
    finally:
        kind.__init__ = init  # type: ignore[method-assign]


def opened(before: Mapping[int, str], after: Mapping[int, str]) -> dict[int, str]:
    """Return what is in the second listing and was not in the first. Pure."""
    return {
        fd: target
        for fd, target in sorted(after.items())
        if before.get(fd) != target and fd not in STREAMS
    }


def listing() -> dict[int, str]:
    """Return what each open descriptor of this process refers to."""
    found = {fd: target_of(fd) for fd in _numbers()}
    return {fd: target for fd, target in found.items() if target}


def _numbers() -> list[int]:
    try:
        return list(map(int, os.listdir("/proc/self/fd")))
    except OSError:  # no /proc
        return list(range(LOOKED_AT))


def target_of(fd: int) -> str:
    """Return what a descriptor refers to, as /proc says it; "" if it is not open."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        pass
    try:
        found = os.fstat(fd)
    except OSError:
        return ""
    return f"{_KINDS.get(stat.S_IFMT(found.st_mode), 'file')}:[{found.st_ino}]"


_KINDS = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe"}


def is_harmless(fd: int, target: str) -> bool:
    """Whether forks may share it: then it stays open in them, under the same number."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    if stat.S_ISCHR(found.st_mode):
        return found.st_rdev in STATELESS
    return found.st_nlink == 0 and os.path.basename(target).startswith(SHARED_MEMORY)


def described(fd: int, target: str) -> str:
    """Say what an open descriptor is, as its author may know it."""
    if target.startswith("socket:"):
        return f"socket {_ends(fd)}".rstrip()
    if target.startswith("pipe:"):
        return "pipe"
    if target.startswith("anon_inode:"):
        return target.removeprefix("anon_inode:").strip("[]")
    return f"file {target}" if target.startswith("/") else target.partition(":")[0]


def _ends(fd: int) -> str:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
        for word, name in (("connected to", sock.getpeername), ("bound to", sock.getsockname)):
            with contextlib.suppress(OSError):
                if shown := _address(name()):
                    return f"{word} {shown}"
    return ""


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        return ":".join(map(str, address[:2])) if address[1] else ""
    return os.fsdecode(address) if isinstance(address, str | bytes) else ""


def problem(names: list[str]) -> str:
    """Say why this process must not fork; "" if it may."""
    if not names:
        return ""
    shown = "; ".join(names)
    return f"the app has left descriptors open ({shown}): their numbers mean others in a fork"
