"""Leases: what a consumer has, and what becomes of it when it leaves, or is stuck."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.queues.core.chunk import Chunk

#: Seconds without a word after which a consumer that has work is no longer taken for a fast one.
SILENCE = 0.005


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a lane is: ``done`` messages of ``chunk``; ``busy``: it works on the next one.

    ``last``, ``end``: it works on a batch, from there up to before message ``end`` of the chunk
    ``last``; 0: on one message.
    """

    chunk: int
    done: int
    busy: bool
    last: int = 0
    end: int = 0


@dataclass(slots=True)
class Consumer:
    """One consumer.

    Args:
        lanes: messages it works on at once; with more than one, each chunk holds one message.
        asked: messages it can take at once, by its own word.
        window: messages it may have at once: as many; half of them while the queue is squeezed.
        burst: messages that it handles in no time: with fewer it keeps its turn. 0: not known.
        held: messages it has.
        heard: when it said something last, or was given work while it had none.
        leased: its chunks, in the order of delivery.
        settled: the chunk that it settled last: saying so again is no news, and not late.
        cells: what its cursor said the last time that somebody looked.
        since: since when each cell has said that; empty: nobody has looked since it got work.

    """

    lanes: int = 1
    asked: int = 0
    window: int = 0
    burst: int = 0
    held: int = 0
    heard: float = 0.0
    leased: dict[int, Chunk] = field(default_factory=dict)
    settled: int = 0
    cells: Sequence[Cursor] = ()
    since: list[float] = field(default_factory=list)

    def is_swift(self, now: float) -> bool:
        """Whether one more message for it is sooner begun than another consumer is woken."""
        return self.held < self.burst and (not self.held or now - self.heard < SILENCE)

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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a chunk whose consumer is gone: ``done`` messages of it are settled.

    ``suspects``: so many behind these were being worked on, and are charged with the end of their
    consumer. The rest was never begun.
    """

    chunk: Chunk
    done: int
    suspects: int = 0


def verdicts(one: Consumer, cells: Sequence[Cursor]) -> list[Verdict]:
    """Decide over every chunk that a consumer has, by its cursor.

    One lane works in the order of delivery: what lies before its cursor is done, what lies behind
    what it works on was never begun. With several lanes a cell speaks for its own chunk, and a lane
    says that a chunk is done before it goes on to another: what no cell names was never begun.
    """
    if one.lanes > 1:
        named = {cell.chunk: cell for cell in cells}
        return [_by_lane(chunk, named.get(chunk.id)) for chunk in one.leased.values()]
    return _in_order(one, cells[0])


def _by_lane(chunk: Chunk, cell: Cursor | None) -> Verdict:
    return Verdict(chunk, chunk.done) if cell is None else _judged(chunk, cell.done, _end(cell))


def _in_order(one: Consumer, cursor: Cursor) -> list[Verdict]:
    # Its chunk may be settled already, and is not leased then: nothing lies before the cursor. What
    # lies behind is begun only if it is of a batch, which ends in a chunk that is leased still.
    before = cursor.chunk in one.leased
    within = cursor.busy and not before and cursor.last in one.leased
    found: list[Verdict] = []
    for chunk in one.leased.values():
        ends = chunk.id == (cursor.last or cursor.chunk)
        if chunk.id == cursor.chunk:
            before, within = False, cursor.last in one.leased and not ends
            end = chunk.count if within else _end(cursor)
            found.append(_judged(chunk, cursor.done, end))
        elif before:
            found.append(Verdict(chunk, chunk.count))
        elif within:
            found.append(_judged(chunk, chunk.done, cursor.end if ends else chunk.count))
            within = not ends
        else:
            found.append(Verdict(chunk, chunk.done))
    return found


def _end(cell: Cursor) -> int:
    """Return where what a cell says is being worked on ends, in the chunk where it begins."""
    if not cell.busy:
        return cell.done
    return cell.end if cell.last == cell.chunk else cell.done + 1


def _judged(chunk: Chunk, done: int, end: int) -> Verdict:
    """Judge a chunk by its cursor; what its consumer has said of it since counts as well."""
    done = min(max(done, chunk.done), chunk.count)
    return Verdict(chunk, done, max(0, min(end, chunk.count) - done))
