"""What others know of a process that has ended: the broker, the pump's files and the arbiter."""

import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from supervisor.crashes.at_hand import AtHand
from supervisor.crashes.death import Death
from supervisor.crashes.last_lines import last_lines
from supervisor.crashes.redaction import secrets
from supervisor.crashes.report import Context, Grown, Other, Work
from supervisor.crashes.shelf import Kept
from supervisor.logs import place
from supervisor.logs.record import timestamp
from supervisor.recycling.report import REPORT, Departed, Report

#: Words of the broker's that wait for the death that they are about.
MOST_WAITING = 100
#: Seconds before a death within which others are named with it, and how many of them.
NEAR, MOST_NEAR = 5.0, 10
#: Seconds for which what the arbiter has seen is not read again: a storm has a thousand deaths.
FRESH = 0.2


class Background:
    """Gathers it for each death.

    Args:
        directory: the runtime directory.
        environments: the variables that children declare, by their paths.

    """

    def __init__(
        self, directory: str, environments: Mapping[str, Mapping[str, str | None]]
    ) -> None:
        self._directory, self._environments = directory, environments
        self._report: Report | None = None
        self._seen_at = -FRESH  # monotonic seconds
        self._at_hand: OrderedDict[str, AtHand] = OrderedDict()  # by worker

    def note(self, found: AtHand) -> None:
        """Keep what a consumer was handling: that it ended for is told later, or never."""
        self._at_hand[found.worker] = found
        if len(self._at_hand) > MOST_WAITING:
            self._at_hand.popitem(last=False)

    def of(self, death: Death, kept: Iterable[Kept]) -> Context:
        """Return what there is to be known about a death; ``kept``: the reports that there are."""
        number = death.end.incarnation
        found = self._at_hand.pop(f"{death.path}#{number}", None)
        work = None if found is None else Work(found.queue, found.count, found.messages)
        known = secrets(os.environ, self._environments.get(death.child, {}))
        logs = place.pointed(self._directory)
        lines = last_lines(logs, death.child, death.path, number, known) if logs else []
        return Context(_before(death, kept), work, self._grown(death), lines)

    def _seen(self) -> Report | None:
        now = time.monotonic()
        if now - self._seen_at > FRESH:
            self._report, self._seen_at = REPORT.read(self._directory), now
        return self._report

    def _grown(self, death: Death) -> Grown | None:
        report = self._seen()
        if report is None:
            return None
        seen = [*report.departed]
        if slot := report.slots.get(death.path):
            seen.append(Departed(death.path, report.at, slot))
        found = [one for one in seen if (one.path, one.slot.pid) == (death.path, death.pid)]
        if not found:
            return None
        slot = found[-1].slot
        return Grown(
            time=timestamp(found[-1].at),
            private=slot.private,
            soft=slot.soft,
            hard=slot.hard,
            baseline=slot.baseline,
            growth_per_second=slot.trend,
            fds=slot.fds,
            threads=slot.threads,
            samples=slot.samples,
        )


def _before(death: Death, kept: Iterable[Kept]) -> list[Other]:
    """Return which deaths were shortly before, or at once with it."""
    ages = sorted((death.end.at - one.at, one.id, one) for one in kept if one.fingerprint)
    near = [(age, one) for age, _, one in ages if 0.0 <= age <= NEAR][:MOST_NEAR]
    return [Other(one.id, one.path, one.cause, round(age, 3)) for age, one in reversed(near)]
