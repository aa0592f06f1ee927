"""What keeps a durable queue: the contract of every store, and the one in memory.

A store takes the changes of a queue in groups. A group is there whole when `write` returns, and not
at all if it raised or the process died in it: there is nothing between. What was written is what
`recover` says later, or `damage` says which part is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from msgspec import structs

from workers.queues.core.chunk import Chunk
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import Change, Sequenced
from workers.queues.store.batch import Batch

#: Clients whose last sequence number is kept: those that put last.
MAX_SEQUENCES = 10_000


class StoreError(Exception):
    """Base of what can go wrong with a store."""


class StoreLocked(StoreError):  # noqa: N818 - a state, said as the operator would
    """Another process keeps this queue; nothing was touched."""


class StoreTooNew(StoreError):  # noqa: N818
    """A newer version of this package wrote the file; nothing was touched."""


class StoreFull(StoreError):  # noqa: N818
    """No space is left on the device: nothing of this write was kept.

    From then on puts are to be refused; what makes the queue smaller still finds space.
    """


class StoreFailed(StoreError):  # noqa: N818
    """The device failed, or the files were taken away: no write is taken any more.

    What the failed write changed may be there after a restart, or not.
    """


class State(Enum):
    """Whether a store takes changes."""

    OPEN = "open"
    FULL = "full"  # no space: puts are to be refused
    FAILED = "failed"  # nothing is written any more
    CLOSED = "closed"


class DamageKind(Enum):
    """What was found."""

    ROW = "row"  # one row is not what was written; it is a dead letter now
    LOST = "lost"  # what was written is not there
    FILE = "file"  # the file could not be read as a whole; it was set aside
    MARK = "mark"  # the high-water mark was unreadable: nothing to compare with
    REPLACED = "replaced"  # files were removed while open; written anew from what was open


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that was not as it had been written.

    ``first`` to ``last``: the ids of chunks that may be lost (0: none is). ``path``: where what was
    set aside is; it is told again at each start until that file is removed. ``found``: when it was
    found, in seconds since 1970.
    """

    kind: DamageKind
    what: str
    first: int = 0
    last: int = 0
    path: str = ""
    found: float = 0.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a store holds: ``chunks`` in the order in which they wait, ``letters`` of their ids.

    ``keys``: for dedupe, and until when each is remembered, those that end first first.
    ``last_chunk``, ``last_letter``: the highest ids there have ever been; new ones lie above.
    """

    chunks: list[Chunk] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    sequences: dict[str, Sequenced] = field(default_factory=dict)
    keys: dict[str, float] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    last_chunk: int = 0
    last_letter: int = 0


def order(chunk: Chunk) -> tuple[int, int]:
    """Say where a chunk stands among those that wait."""
    return chunk.origin, chunk.id


def _stored(chunk: Chunk) -> Chunk:
    """Copy what is stored of a chunk."""
    return Chunk(
        chunk.id,
        chunk.count,
        chunk.body,
        chunk.options,
        chunk.attempt,
        chunk.done,
        chunk.put_at,
        chunk.expires,
        chunk.not_before,
        chunk.origin,
        extra=chunk.extra,
    )


class Store(Protocol):
    """Keeps one queue. Used by one thread of one process."""

    @property
    def state(self) -> State:
        """Whether it takes changes."""

    @property
    def why(self) -> str:
        """What keeps it from taking them."""

    @property
    def damage(self) -> Sequence[Damage]:
        """What was found damaged since it was opened."""

    def recover(self) -> Recovered:
        """Return what it holds; called once, before the first write."""

    def write(self, changes: Sequence[Change]) -> None:
        """Keep changes, all or none of them; they are durable when it returns.

        Raises:
            StoreFull: no space; nothing was kept, and the caller may try again with less.
            StoreFailed: the device failed; the store takes no more.
            ValueError: a change of what is not there; nothing was kept.

        """

    def tend(self) -> None:
        """Do what can wait until nothing else is to be done; takes milliseconds. Never raises."""

    def close(self) -> None:
        """End it. What was written stays."""


class Ahead(Protocol):
    """A head start on what a store is to hold, written while its queue goes on, and changes it."""

    def step(self) -> bool:
        """Write some of what is left, for milliseconds; return whether there is more.

        Raises:
            StoreFailed: the device fails.

        """

    def give_up(self) -> None:
        """End it: no store goes on with it."""


class MemoryStore:
    """Keeps what it is given for as long as it exists: the model of every other store."""

    def __init__(self) -> None:
        self.state = State.OPEN
        self.why = ""
        self.damage: list[Damage] = []
        self._chunks: dict[int, Chunk] = {}
        self._letters: dict[int, DeadLetter] = {}
        self._sequences: dict[str, Sequenced] = {}
        self._keys: dict[str, float] = {}
        self._last_chunk = self._last_letter = 0

    def recover(self) -> Recovered:
        """Return copies of what was written."""
        waiting = sorted(self._chunks.values(), key=order)
        return Recovered(
            chunks=[structs.replace(chunk) for chunk in waiting],
            letters=[self._letters[one] for one in sorted(self._letters)],
            sequences=dict(self._sequences),
            keys=dict(sorted(self._keys.items(), key=lambda one: one[1])),
            last_chunk=self._last_chunk,
            last_letter=self._last_letter,
        )

    def write(self, changes: Sequence[Change]) -> None:
        """Keep changes; see `Store`."""
        if self.state is State.CLOSED:
            raise StoreFailed("the store is closed")
        counts = {chunk.id: chunk.count for chunk in self._chunks.values()}
        batch = Batch.of(changes, counts, self._letters)
        for gone in batch.removed:
            del self._chunks[gone]
        for added in batch.added:
            self._chunks[added.chunk.id] = _stored(added.chunk)
        for id, done in batch.progress.items():  # noqa: A001 - the word of the field
            self._chunks[id].done = max(self._chunks[id].done, done)
        for discarded in batch.discarded:
            del self._letters[discarded]
        self._letters.update((letter.id, letter) for letter in batch.buried)
        self._sequences.update(batch.sequences)
        self._keys.update(batch.remembered)
        self._last_chunk = max(self._last_chunk, batch.last_chunk)
        self._last_letter = max(self._last_letter, batch.last_letter)

    def tend(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Take no more changes."""
        self.state = State.CLOSED
