"""Reports of leaks: what the last lives of a worker were like that recycling does not cure.

Written when a slot has been recycled three times in a row after less than ten minutes (it is then
held off, `core.orders`): a file of JSON beside the reports of crashes, and a record in the log.
What the worker's own allocations were it says itself when it is asked to trim (`memory.trim`).
"""

import logging
import os
import re
import time
from collections import deque
from collections.abc import Mapping

import msgspec

from supervisor.core.census import SlotView
from supervisor.core.orders import QUICK_LIVES, Record
from supervisor.crashes import place, shelf

log = logging.getLogger("supervisor.arbiter")


class Life(msgspec.Struct, frozen=True):
    """One process as it was when it was to be recycled. Bytes and seconds.

    ``growth_per_message`` is known if messages are counted and its baseline is known.
    """

    generation: int
    why: str
    age: float
    private: int
    baseline: int | None
    growth_per_second: float | None
    growth_per_message: float | None
    messages: int
    fds: int
    threads: int


class LeakReport(msgspec.Struct, frozen=True):
    """The lives of a slot, the last one last. ``at``: Unix time; ``held_off``: seconds."""

    path: str
    at: float
    held_off: float
    lives: list[Life]


def per_message(slot: SlotView) -> float | None:
    """Return the bytes that a worker has kept of each message; None if that is not known."""
    if slot.messages <= 0 or slot.baseline is None:
        return None
    return (slot.private - slot.baseline) / slot.messages


class Leaks:
    """Remembers the last lives of each slot, and writes reports.

    Args:
        directory: the runtime directory.

    """

    def __init__(self, directory: str) -> None:
        self._directory = place.below(directory)
        self._lives: dict[str, deque[Life]] = {}
        self._reported: dict[str, float] = {}  # the end of the hold-off, by path

    def recycled(self, slot: SlotView, why: str) -> None:
        """Note what a worker is like that is about to be recycled."""
        trend = slot.trend
        life = Life(
            generation=slot.generation,
            why=why,
            age=round(slot.age, 3),
            private=slot.private,
            baseline=slot.baseline,
            growth_per_second=None if trend is None else round(trend, 1),
            growth_per_message=per_message(slot),
            messages=slot.messages,
            fds=slot.fds,
            threads=slot.threads,
        )
        self._lives.setdefault(slot.path, deque(maxlen=QUICK_LIVES)).append(life)

    def look(self, records: Mapping[str, Record]) -> None:
        """Report the slots that are held off since the last look; forget those that are gone."""
        self._lives = {path: lives for path, lives in self._lives.items() if path in records}
        self._reported = {path: at for path, at in self._reported.items() if path in records}
        for path, record in records.items():
            if record.hold and self._reported.get(path) != record.hold_until:
                self._reported[path] = record.hold_until
                lives = list(self._lives.get(path, ()))
                self._report(LeakReport(path, time.time(), record.hold, lives))

    def _report(self, report: LeakReport) -> None:
        path = re.sub(r"[^a-z0-9_.-]+", "-", report.path)
        name = f"leak-{path}-{int(report.at)}{shelf.ENDING}"
        file = os.path.join(self._directory, name)
        extra = {"child": report.path, "held_off": report.held_off, "report": file}
        content = msgspec.json.format(msgspec.json.encode(report), indent=1)
        try:
            shelf.write(self._directory, name, content)
        except OSError as error:  # a full disk: recycling does not depend on it
            extra["report"] = f"not written: {error.strerror}"
        log.warning("recycled over and over", extra=extra)
