"""Leases: what a consumer has, and what becomes of it when it leaves, or is stuck."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from workers.queues.core.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a lane is: ``done`` messages of ``chunk``; ``busy``: it works on the next one."""

    chunk: int
    done: int
    busy: bool


@dataclass(slots=True)
class Consumer:
    """One consumer.

    Args:
        lanes: messages it works on at once; with more than one, each chunk holds one message.
        window: messages it may have at once.
        held: messages it has.
        leased: its chunks, in the order of delivery.
        settled: the chunk that it settled last: saying so again is no news, and not late.
        cells: what its cursor said the last time that somebody looked.
        since: since when each cell has said that; empty: nobody has looked since it got work.

    """

    lanes: int = 1
    window: int = 0
    held: int = 0
    leased: dict[int, Chunk] = field(default_factory=dict)
    settled: int = 0
    cells: Sequence[Cursor] = ()
    since: list[float] = field(default_factory=list)

    def works_on(self, chunk_id: int, now: float) -> None:
        """It says that it works on a chunk: the lane that has it, or the only one."""
        for lane, cell in enumerate(self.cells):
            if (cell.chunk == chunk_id or self.lanes == 1) and self.since:
                self.since[lane] = now


def overdue(one: Consumer, cells: Sequence[Cursor], now: float, lease: float) -> set[int]:
    """Return the chunks that a consumer has made no progress with for ``lease`` seconds.

    Its cursor is looked at now and then: progress is that a cell says something else than the last
    time. When no lane moves, that is all it has; while some do, it is what the others work on.
    """
    if len(one.since) != len(cells):
        one.cells, one.since = cells, [now] * len(cells)
        return set()
    for lane, (cell, before) in enumerate(zip(cells, one.cells, strict=True)):
        if cell != before:
            one.since[lane] = now
    one.cells = cells
    if max(one.since) + lease <= now:
        return set(one.leased)
    if one.lanes == 1:
        return set()
    return {
        cell.chunk
        for cell, since in zip(cells, one.since, strict=True)
        if cell.busy and since + lease <= now and cell.chunk in one.leased
    }


class Fate(Enum):
    """What becomes of a chunk whose consumer is gone."""

    SETTLED = "settled"  # all of it was done
    SUSPECT = "suspect"  # its next message was being worked on
    UNTOUCHED = "untouched"  # what is left of it was never begun


def fates(one: Consumer, cells: Sequence[Cursor]) -> list[tuple[Chunk, int, Fate]]:
    """Decide over every chunk that a consumer has, by its cursor: (chunk, messages done, fate).

    One lane works in the order of delivery: what lies before its cursor is done, what lies behind
    was never begun. With several lanes a cell speaks for its own chunk, and a lane says that a
    chunk is done before it goes on to another: what no cell names was never begun.
    """
    if one.lanes > 1:
        named = {cell.chunk: cell for cell in cells}
        return [_by_cell(chunk, named.get(chunk.id)) for chunk in one.leased.values()]
    cursor = cells[0]
    # Its chunk may be acknowledged already: then nothing behind it was begun.
    before = cursor.chunk in one.leased
    found: list[tuple[Chunk, int, Fate]] = []
    for chunk in one.leased.values():
        if chunk.id == cursor.chunk:
            before = False
            found.append(_by_cell(chunk, cursor))
        elif before:
            found.append((chunk, chunk.count, Fate.SETTLED))
        else:
            found.append((chunk, chunk.done, Fate.UNTOUCHED))
    return found


def _by_cell(chunk: Chunk, cell: Cursor | None) -> tuple[Chunk, int, Fate]:
    if cell is None:
        return chunk, chunk.done, Fate.UNTOUCHED
    done = min(max(cell.done, chunk.done), chunk.count)
    if done == chunk.count:
        return chunk, done, Fate.SETTLED
    return chunk, done, Fate.SUSPECT if cell.busy else Fate.UNTOUCHED
