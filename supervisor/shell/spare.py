"""A spare: a process that a template has forked already, and that waits to be told who it is."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from supervisor.channel import Channel
from supervisor.link import Assign, FromWorker, Inherit
from supervisor.process import messages

#: Who a spare becomes, and the descriptors that go with that.
Identity = tuple[Assign, tuple[int, ...]]


@dataclass(slots=True)
class Spare:
    """One spare.

    ``heir_of``: the processes (by serial) that it is to follow, and as whom. ``inherits``: as whom
    its template has woken it.
    """

    serial: int
    link: socket.socket
    stacks: int  # memfd that its faulthandler writes to
    kind: bytes = b""  # of child that it has got ready for, if any
    pid: int | None = None  # None: it is being forked, or gone
    gone: bool = False
    end: messages.Exited | None = None  # how it went, if that is known
    heir_of: dict[int, Identity] = field(default_factory=dict)
    inherits: Identity | None = None
    on_end: Callable[[], None] = lambda: None

    def become(self, kind: bytes, who: Assign, fds: tuple[int, ...]) -> None:
        """Tell it who it is.

        Raises:
            OSError: it is gone.

        """
        self._say(who if self.kind == kind else replace(who, kind=kind), fds)

    def inherit(self, of: Mapping[int, Identity], word: int) -> None:
        """Tell it who it may become. ``word``: the eventfd that says when, and which of them.

        Raises:
            OSError: it is gone, or no descriptors are left.

        """
        self._say(Inherit(), (word,))
        for who, fds in of.values():
            self._say(replace(who, ahead=True), fds)
        self.heir_of = dict(of)

    def runs_as(self, kind: bytes, identity: Identity) -> bool:
        """Whether it was woken as this one, and nobody has lost sight of it since."""
        is_lost = self.gone and self.end is None
        return self.kind == kind and self.inherits == identity and not is_lost

    def _say(self, message: Assign | Inherit, fds: tuple[int, ...]) -> None:
        channel: Channel[FromWorker] = Channel(self.link, FromWorker)
        channel.send(message, fds)

    def discard(self) -> None:
        """It is not wanted any more: it ends when its link is closed."""
        self.link.close()
        os.close(self.stacks)

    # --- what its template says of it (templates.Owner) ---------------------------------------

    def spawned(self, pid: int) -> None:
        """It exists."""
        self.pid = pid

    def spawn_failed(self, problem: str, transient: bool = False) -> None:
        """It does not."""
        self.gone = True

    def exited(self, message: messages.Exited) -> None:
        """It died waiting, or as an heir before anybody had heard of it."""
        self.gone = True
        self.end = message
        self.on_end()

    def suspended(self, stopped: bool) -> None:
        """Nobody cares."""

    def lost(self) -> None:
        """It went with its template."""
        self.gone = True
        self.on_end()
