"""What a queue has changed, as data: the core writes it, a store keeps it.

Changes are in the order in which they happened, and are kept all or not at all, group by group:
a message that is cut out of one chunk and added as another is never in both, and never in neither.
"""

from dataclasses import dataclass

from workers.queues.core.chunk import Chunk
from workers.queues.core.dead_letter import DeadLetter


@dataclass(frozen=True, slots=True)
class Added:
    """A chunk is in the queue: put, cut out of another, or returned under a new number.

    The chunk goes on changing: ``done`` may be ahead of what it was (a later `Advanced` says so
    too); all else that is stored stays. Stored: all up to ``origin``. The order of a
    queue, after a restart too, is that of ``origin``, then of ``id``.
    """

    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Advanced:
    """The first ``done`` messages of a chunk are done; all of them: the chunk is gone."""

    id: int
    done: int


@dataclass(frozen=True, slots=True)
class Removed:
    """A chunk is gone: cut into others (each of them added), dropped, purged or buried."""

    id: int


@dataclass(frozen=True, slots=True)
class Buried:
    """A message has become a dead letter."""

    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Discarded:
    """A dead letter is gone."""

    letter: int


@dataclass(frozen=True, slots=True)
class Sequenced:
    """The last put of a client that was decided; what it sends again up to here is known.

    ``gaps``: those among the puts before it that were rejected, as far as the client may not know
    of it yet: they are not in the queue, and must not be confirmed.
    """

    client: str
    sequence: int
    gaps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Remembered:
    """A put with this key for dedupe was taken in: ``chunk``. It is known until then."""

    key: str
    until: float
    chunk: int


Change = Added | Advanced | Removed | Buried | Discarded | Sequenced | Remembered
