"""Replacements that were ordered, and what became of them: seen, not heard.

Lives that were too short, and replacements that failed, make the next one wait.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from supervisor.core.census import SlotView

#: Lives shorter than this, so many in a row, are thrash: hold off, twice as long each time.
QUICK_LIFE, QUICK_LIVES = 600.0, 3
HOLD_LEAST, HOLD_MOST = 60.0, 3600.0
#: Replacements that may fail before the next try waits, first a minute, then twice as long ...
FAILURES = 2
#: Seconds until a replacement that was ordered must be seen under way.
ORDER_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """A replacement that was ordered: of which generation, when; ``seen`` under way since."""

    generation: int
    at: float
    age: float
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of one slot. ``trimming``: the success is not judged yet."""

    generation: int
    order: Order | None = None
    trimmed_at: float | None = None
    trimming: bool = False
    failures: int = 0
    blocked_until: float = 0.0
    quick_lives: int = 0
    hold: float = 0.0
    hold_until: float = 0.0


def settle(
    before: Mapping[str, Record], slots: Iterable[SlotView], now: float
) -> dict[str, Record]:
    """Forget slots that are gone; settle orders that were carried out, or were not."""
    records: dict[str, Record] = {}
    for slot in slots:
        record = before.get(slot.path)
        if record is None:
            continue
        order = record.order
        if order is None and record.generation != slot.generation:  # it has crashed
            record = replace(record, generation=slot.generation, trimmed_at=None, trimming=False)
        if order is not None:
            if slot.recycling:
                record = replace(record, order=replace(order, seen=True))
            elif slot.generation != order.generation and slot.ready:
                record = _succeeded(record, order, slot.generation, now)
            elif order.seen or now - order.at > ORDER_PATIENCE:
                record = _failed(record, now)
        records[slot.path] = record
    return records


def _succeeded(record: Record, order: Order, generation: int, now: float) -> Record:
    quick = record.quick_lives + 1 if order.age < QUICK_LIFE else 0
    hold = until = 0.0
    if quick >= QUICK_LIVES:
        hold = min(HOLD_MOST, 2 * record.hold or HOLD_LEAST)
        until = now + hold
    return Record(generation, quick_lives=quick, hold=hold, hold_until=until)


def _failed(record: Record, now: float) -> Record:
    failures = record.failures + 1
    until = 0.0
    if failures >= FAILURES:
        until = now + min(HOLD_MOST, HOLD_LEAST * 2 ** min(10, failures - FAILURES))
    return replace(record, order=None, failures=failures, blocked_until=until)


def tally(before: Mapping[str, Record], after: Mapping[str, Record]) -> tuple[int, int]:
    """Count the replacements that have succeeded, and those that have failed, between two looks."""
    recycled = failed = 0
    for path, record in after.items():
        was = before[path]
        if was.order is not None and record.order is None:
            failed += record.failures > was.failures
            recycled += record.failures <= was.failures
    return recycled, failed
