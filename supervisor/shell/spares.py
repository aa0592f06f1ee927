"""The spares of a template: how many there are, who takes them, which of them is an heir."""

import os
from collections.abc import Callable, Mapping

from supervisor.link import Assign
from supervisor.loop import Loop
from supervisor.shell.spare import Identity, Spare

#: Spares a supervisor keeps of one template, at most.
MAX_SPARES = 4
#: Seconds after a spare was used until the next one is forked: not in the way of other restarts.
REFILL_DELAY = 0.02


class Spares:
    """The spares of one template.

    Args:
        loop: on which missing ones are asked for.
        fork: asks the template for one, of a kind, that is needed at once or not. Returns None
            if there is no template for now; raises OSError if no descriptors are left.
        bequeath: tells the template for which processes it wakes an heir (serials), and how.
        kill: has the template kill one.

    """

    def __init__(
        self,
        loop: Loop,
        fork: Callable[[bytes, bool], Spare | None],
        bequeath: Callable[[int, list[int], int | None], None],
        kill: Callable[[int], None],
    ) -> None:
        self._loop, self._fork, self._bequeath, self._kill = loop, fork, bequeath, kill
        self._spares: list[Spare] = []
        self._woken: dict[int, Spare] = {}  # by serial: heirs that run, and nobody's yet
        self._refill_due = False
        self._expected = b""  # the kind of child that is started next, most likely: the last one
        self.target = 0
        self.on_refill: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._spares) + len(self._woken)

    def fill(self, count: int) -> None:
        """Keep this many from now on."""
        self.target = min(count, MAX_SPARES)
        self.refill_later()

    def succeed(self, old: "Spares") -> None:
        """Keep as many as another template's, which are let go, for the same."""
        self._expected = old._expected
        self.on_refill, old.on_refill = old.on_refill, []
        self.fill(old.target)
        old.target = 0
        old.discard()

    def discard(self) -> None:
        """Let them all go."""
        for spare in list(self._spares):
            self._let_go(spare)
        for serial in list(self._woken):
            self.reject(serial)

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
        heir = next((one for one in self._woken.values() if one.runs_as(kind, (who, fds))), None)
        if heir is not None:
            del self._woken[heir.serial]
            self._loop.post(self.refill_later)
            return heir
        usable = [spare for spare in self._free() if spare.kind in (kind, b"")]
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

    def _free(self) -> list[Spare]:
        return [spare for spare in self._spares if not spare.heir_of]

    # --- heirs --------------------------------------------------------------------------------

    @property
    def heir(self) -> Spare | None:
        """The one that is an heir."""
        return next((spare for spare in self._spares if spare.heir_of), None)

    @property
    def candidate(self) -> Spare | None:
        """One that may become an heir: it is ready for a kind, and others are left for the rest."""
        if len(self._spares) < 2 or self.heir is not None:
            return None
        ready = (spare for spare in self._spares if spare.kind and not spare.gone)
        return next(ready, None)

    def make_heir(self, spare: Spare, of: Mapping[int, Identity]) -> None:
        """Tell a spare who it may become, and its template when."""
        try:
            word = os.eventfd(0)
        except OSError:  # no descriptors are left: it stays what it is
            return
        try:
            spare.inherit(of, word)
            self._bequeath(spare.serial, list(of), word)
        except OSError:
            self._let_go(spare)
            self.refill_later()
        finally:
            os.close(word)

    def inherits(self, process: int) -> bool:
        """Whether somebody goes on at once when this process ends abnormally."""
        heir = self.heir
        return heir is not None and process in heir.heir_of

    def disinherit(self, process: int) -> None:
        """Nobody goes on in its place: it is going to be ended."""
        if self.inherits(process):
            self.replace_heir()

    def replace_heir(self) -> None:
        """Let the heir go, and have another spare in a moment."""
        heir = self.heir
        if heir is not None:
            self._let_go(heir)
            self.refill_later()

    def woken(self, heir: int, process: int) -> bool:
        """The template has woken it, as the process has ended; False if it was let go meanwhile."""
        spare = self.heir
        if spare is not None and spare.serial == heir:
            self._spares.remove(spare)
            self._woken[heir] = spare
            spare.inherits = spare.heir_of[process]
            return True
        self._kill(heir)
        return False

    def reject(self, heir: int) -> None:
        """It is not to go on, if it is still nobody's: something else was decided."""
        spare = self._woken.pop(heir, None)
        if spare is not None:
            spare.inherits = None
            self._kill(heir)
            spare.discard()
            self.refill_later()

    def _let_go(self, spare: Spare) -> None:
        self._spares.remove(spare)
        if spare.heir_of:
            self._bequeath(spare.serial, [], None)
        spare.discard()

    # --- how many there are -------------------------------------------------------------------

    def hurry(self, kind: bytes) -> None:
        """Fork already what will take the place of a child of this kind, which has died, it seems.

        The fork is then under way while the end is still reported and decided over.
        """
        if len(self._spares) >= MAX_SPARES or any(spare.kind == kind for spare in self._free()):
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
            self._let_go(spare)
        while len(self._spares) > self.target:
            self._let_go(self._spares[0])
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
        for callback in self.on_refill:
            callback()
