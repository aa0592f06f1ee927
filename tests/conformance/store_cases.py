"""Changes and what they come to: made by hand, and made at random."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import structs

from workers.queues.core.chunk import Chunk
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import (
    Added,
    Advanced,
    Buried,
    Change,
    Discarded,
    Remembered,
    Removed,
    Sequenced,
)
from workers.queues.store.contract import Recovered, Store

#: A time in seconds since 1970 that is not over yet.
FAR = 1e10


def chunk(number: int, count: int = 1, body_size: int = 0, **fields: object) -> Chunk:
    """A chunk whose body says which it is."""
    fields.setdefault("origin", number)
    body = f"body of {number}".encode() * count
    return Chunk(number, count, body.ljust(body_size, b"."), **fields)  # type: ignore[arg-type]


def letter(number: int, **fields: object) -> DeadLetter:
    """A dead letter."""
    return DeadLetter(number, b"message", b"", "crashed", 5, **fields)  # type: ignore[arg-type]


def held(recovered: Recovered) -> tuple[object, ...]:
    """All that a store holds, to be compared."""
    return (
        recovered.chunks,
        recovered.letters,
        recovered.sequences,
        recovered.keys,
        recovered.last_chunk,
        recovered.last_letter,
    )


@dataclass
class Writer:
    """Makes groups of changes at random, all of them possible."""

    seed: int
    chunks: dict[int, Chunk] = field(default_factory=dict)
    letters: set[int] = field(default_factory=set)
    last_chunk: int = 0
    last_letter: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def group(self, changes: int = 6, size: int = 200) -> list[Change]:
        """Make one group."""
        found: list[Change] = []
        for _ in range(self.random.randint(1, changes)):
            found += self._one(size)
        return found

    def _one(self, size: int) -> Sequence[Change]:
        pick = self.random.choice
        kind = self.random.randrange(8)
        if kind == 0 and self.chunks:
            return [Removed(self._gone())]
        if kind in (1, 2) and self.chunks:
            return [self._advance(pick(list(self.chunks)))]
        if kind == 3 and self.chunks:
            return self._cut(self._gone())
        if kind == 4:
            self.last_letter += 1
            self.letters.add(self.last_letter)
            return [Buried(letter(self.last_letter, error="é" * self.random.randrange(9)))]
        if kind == 5 and self.letters:
            gone = pick(list(self.letters))
            self.letters.discard(gone)
            return [Discarded(gone)]
        return self._put(self.random.randrange(size))

    def _put(self, size: int) -> Sequence[Change]:
        new = self._new(self.random.randint(1, 9), self.random.randbytes(size))
        client = f"client {self.random.randrange(3)}"
        key = Remembered(f"é {self.random.randrange(9)}", FAR + self.random.random(), new.id)
        gaps = tuple(range(self.random.randrange(3)))
        return [Added(new), Sequenced(client, new.id, gaps), *([key] if new.id % 2 else [])]

    def _new(self, count: int, body: bytes, origin: int = 0) -> Chunk:
        self.last_chunk += 1
        new = Chunk(
            self.last_chunk,
            count,
            body,
            attempt=self.random.randint(1, 3),
            put_at=self.random.random(),
            origin=origin or self.last_chunk,
        )
        self.chunks[new.id] = new
        return new

    def _gone(self) -> int:
        gone = self.random.choice(list(self.chunks))
        del self.chunks[gone]
        return gone

    def _cut(self, whole: int) -> Sequence[Change]:
        parts = [self._new(1, b"part", whole), self._new(1, b"part", whole)]
        return [Removed(whole), *(Added(structs.replace(part)) for part in parts)]

    def _advance(self, number: int) -> Change:
        done = self.random.randint(1, self.chunks[number].count)
        if done >= self.chunks[number].count:
            del self.chunks[number]
        return Advanced(number, done)


def write_all(stores: Sequence[Store], groups: Sequence[Sequence[Change]]) -> None:
    """Write the same groups to several stores."""
    for group in groups:
        for store in stores:
            store.write(group)
