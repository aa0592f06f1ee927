"""What the arbiter has seen and done, for whoever looks: a file in the runtime directory.

What should have been replaced long ago says nothing about now.
"""

import msgspec

from supervisor.bulletin import Bulletin
from supervisor.core.thresholds import UNLIMITED

#: A report says nothing about now any more after so many of its periods, and so many seconds.
STALE_PERIODS, STALE_AFTER = 3.0, 90.0


class SlotReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One worker: what it has, and may have. Bytes; ``trend``: a second, ``per_message``: kept.

    ``temp`` is known where ``max_temp`` is set. ``samples``: of one that grows, how many seconds
    ago it had how much, the last one last. ``pid`` is 0 for one that has not been looked at, or
    could not be: of it nothing is known but what it may have. ``fds`` None: not ours to see.
    """

    private: int
    soft: int
    hard: int
    baseline: int | None = None
    trend: float | None = None
    per_message: float | None = None
    fds: int | None = None
    threads: int = 0
    temp: int = 0
    max_temp: int = 0
    pid: int = 0
    samples: list[tuple[float, int]] = []

    @property
    def is_known(self) -> bool:
        """Whether it has been looked at."""
        return self.pid != 0

    @property
    def limits(self) -> tuple[int, int] | tuple[None, None]:
        """Its soft and its hard limit; None where it has none."""
        return (self.soft, self.hard) if self.hard < UNLIMITED else (None, None)


class Departed(msgspec.Struct, frozen=True):
    """What was known of a process that is not there any more. ``at``: when, in Unix seconds."""

    path: str
    at: float
    slot: SlotReport


class TemplateReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One template: what it has itself, shared or not, and may have. Bytes, seconds."""

    pid: int
    state: str
    age: float
    max_age: float | None  # None: no limit
    processes: int
    own: int | None = None
    fresh: int | None = None
    limit: int | None = None


class Report(msgspec.Struct, frozen=True):
    """The whole app. ``used``: private bytes of all its processes; times are Unix seconds.

    What the machine does not tell is None: without /proc all of ``budget`` (unless it is declared),
    ``used``, ``available`` and the pressure.
    ``period``: seconds until the next report, at most.
    ``warnings``: by a stable word what is wrong, with the paths that it is wrong with.
    ``departed``: processes that were there in a report before, but are not any more.
    """

    at: float
    period: float
    budget: int | None
    used: int | None
    runtime: dict[str, int]
    available: int | None
    pressure_some: float | None
    pressure_full: float | None
    recycled: int
    failed: int
    stopped_first: int
    deferred: dict[str, str]
    warnings: dict[str, list[str]]
    slots: dict[str, SlotReport]
    templates: list[TemplateReport] = []
    departed: list[Departed] = []


REPORT = Bulletin[Report]("steady.json", Report)


def read(directory: str, now: float) -> Report | None:
    """Read the report; None if there is none of now."""
    report = REPORT.read(directory)
    if report is None or now - report.at > max(STALE_AFTER, STALE_PERIODS * report.period):
        return None
    return report
