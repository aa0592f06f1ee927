"""Heirs: naming who goes on in a worker's place, ahead of its end.

What the core would decide at an abnormal end is known already (`core.machine.step` changes nothing
but what it returns). Where it is a plain restart, a spare is named heir of the worker, and the
template wakes it at the end by itself (`supervisor.process.heirs`). The end is then decided over
as any other; if that comes to something else after all, the heir is killed.

Named anew when things have been quiet for a moment, and withdrawn as soon as the core would decide
otherwise, or the worker is asked to end. None is named while the tree's budget has no restart left
that could be begun with at once.
"""

from collections.abc import Callable, Iterable

from supervisor.core import events as ev
from supervisor.shell.child_process import ChildProcess
from supervisor.shell.spare import Identity, Spare
from supervisor.shell.surroundings import Shell
from supervisor.shell.worker_process import WorkerProcess

#: Seconds after a change until heirs are looked at: by then the next spare is asked for.
QUIET = 0.025
#: Workers that one spare is the heir of, at most: it holds the pipes of each.
MAX_LEGACIES = 8


class Heirs:
    """Keeps the heir of one supervisor's workers right.

    Args:
        shell: its surroundings.
        processes: those that it has.
        decide: what it would do at an event.

    """

    def __init__(
        self,
        shell: Shell,
        processes: Callable[[], Iterable[ChildProcess]],
        decide: Callable[[ev.Event], tuple[ev.Action, ...]],
    ) -> None:
        self._shell, self._processes, self._decide = shell, processes, decide
        self._named: Spare | None = None  # by us: root hosts a second supervisor
        self._due = False
        shell.release.spares.on_refill.append(self.review_later)

    def review_later(self) -> None:
        """Something has changed."""
        if not self._due and self._shell.release.spares.target > 1:
            self._due = True
            self._shell.loop.call_later(QUIET, self._review)

    def _review(self) -> None:
        self._due = False
        spares = self._shell.release.spares
        heir, candidate = spares.heir, spares.candidate
        if candidate is not None:
            legacies = self._legacies(candidate.kind)
            if legacies:
                spares.make_heir(candidate, legacies)
                self._named = candidate
        elif heir is not None and heir is self._named and self._is_outdated(heir):
            spares.replace_heir()

    def _is_outdated(self, heir: Spare) -> bool:
        return heir.gone or heir.heir_of != self._legacies(heir.kind)

    def _legacies(self, kind: bytes) -> dict[int, Identity]:
        """Return who would follow whom, of that kind of child.

        Nobody behind one who would not be followed is asked for: what holds for one mostly holds
        for all, and to ask takes long where it concerns all.
        """
        found: dict[int, Identity] = {}
        if not self._shell.starts.has_token:
            return found
        for process in self._processes():
            if not isinstance(process, WorkerProcess):
                continue
            legacy = process.legacy(kind, self._shell.release)
            if legacy is not None:
                if not self._is_restarted(legacy.end):
                    break
                found[legacy.serial] = legacy.identity
            if len(found) == MAX_LEGACIES:
                break
        return found

    def _is_restarted(self, end: ev.Exited) -> bool:
        """Whether a plain restart, of nobody else, is what comes of an end."""
        actions = self._decide(end)
        if any(isinstance(action, ev.Stop | ev.Kill | ev.Quit) for action in actions):
            return False
        return [one.child for one in actions if isinstance(one, ev.Start)] == [end.child]
