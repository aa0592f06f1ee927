"""Spares: processes that a template has forked already, and that wait to be told who they are."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from supervisor.channel import Channel
from supervisor.link import Assign, FromWorker
from supervisor.loop import Loop
from supervisor.process import messages

#: Spares a supervisor keeps of one template, at most.
MAX_SPARES = 4
#: Seconds after a spare was used until the next one is forked: not in the way of other restarts.
REFILL_DELAY = 0.02


@dataclass(slots=True)
class Spare:
    """A forked process that waits on its link to be told who it is."""

    serial: int
    link: socket.socket
    stacks: int  # memfd that its faulthandler writes to
    kind: bytes = b""  # of child that it has got ready for, if any
    pid: int | None = None  # None: it is being forked, or gone
    gone: bool = False

    def become(self, kind: bytes, who: Assign, fds: tuple[int, ...]) -> None:
        """Tell it who it is.

        Raises:
            OSError: it is gone.

        """
        message = who if self.kind == kind else replace(who, kind=kind)
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
        """It died waiting."""
        self.gone = True

    def suspended(self, stopped: bool) -> None:
        """Nobody cares."""

    def lost(self) -> None:
        """It went with its template."""
        self.gone = True


class Spares:
    """The spares of one template.

    Args:
        loop: on which missing ones are asked for.
        fork: asks the template for one, of a kind, that is needed at once or not. Returns None
            if there is no template for now; raises OSError if no descriptors are left.

    """

    def __init__(self, loop: Loop, fork: Callable[[bytes, bool], Spare | None]) -> None:
        self._loop, self._fork = loop, fork
        self._spares: list[Spare] = []
        self._refill_due = False
        self._expected = b""  # the kind of child that is started next, most likely: the last one
        self.target = 0

    def __len__(self) -> int:
        return len(self._spares)

    def fill(self, count: int) -> None:
        """Keep this many from now on."""
        self.target = min(count, MAX_SPARES)
        self.refill_later()

    def succeed(self, old: "Spares") -> None:
        """Keep as many as another template's, which are let go, for the same."""
        self._expected = old._expected
        self.fill(old.target)
        old.target = 0
        old.discard()

    def discard(self) -> None:
        """Let them all go."""
        for spare in self._spares:
            spare.discard()
        self._spares.clear()

    def take(self, kind: bytes, who: Assign, fds: tuple[int, ...], *, expect: bool) -> Spare | None:
        """Have one become somebody, if there is one that can.

        Args:
            kind: of child that it is to become.
            who: which one.
            fds: what goes with that.
            expect: whether another one may get ready for the same.

        """
        if expect:
            self._expected = kind
        usable = [spare for spare in self._spares if spare.kind in (kind, b"")]
        for spare in sorted(usable, key=lambda spare: spare.kind != kind):
            self._spares.remove(spare)
            self._loop.post(self.refill_later)  # the spare has work first
            try:
                if not spare.gone:
                    spare.become(kind, who, fds)
                    return spare
            except OSError:  # it is gone, and nobody has told us yet
                pass
            spare.discard()
        return None

    def hurry(self, kind: bytes) -> None:
        """Fork already what will take the place of a child of this kind, which has died, it seems.

        The fork is then under way while the end is still reported and decided over.
        """
        if len(self._spares) >= MAX_SPARES or any(spare.kind == kind for spare in self._spares):
            return
        try:
            spare = self._fork(kind, True)
        except OSError:  # no descriptors are left
            return
        if spare is not None:
            self._spares.append(spare)
            self.refill_later()

    def refill_later(self) -> None:
        """Have their number put right in a moment."""
        if not self._refill_due and len(self._spares) != self.target:
            self._refill_due = True
            self._loop.call_later(REFILL_DELAY, self._refill)

    def _refill(self) -> None:
        """Fork what is missing. Half of the spares get ready for what was started last."""
        self._refill_due = False
        for spare in [spare for spare in self._spares if spare.kind not in (self._expected, b"")]:
            self._spares.remove(spare)
            spare.discard()
        while len(self._spares) > self.target:
            self._spares.pop(0).discard()
        try:
            while len(self._spares) < self.target:
                ready = sum(bool(spare.kind) for spare in self._spares)
                kind = self._expected if ready < (self.target + 1) // 2 else b""
                made = self._fork(kind, False)
                if made is None:
                    return
                self._spares.append(made)
        except OSError:  # no descriptors are left: the next start asks again
            pass
