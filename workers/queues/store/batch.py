"""The net effect of a group of changes: pure.

What came and went within one group leaves no trace but its sequence number: a message that was
settled before its group was written is never written.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Batch:
    """What has to be done to a store, in any order: no two parts are about the same thing.

    ``added``: in the order in which they came, or came back. ``progress``: messages done of a
    chunk that stays, whether it was there or is added now. ``remembered``: keys for dedupe, and
    until when.
    """

    added: list[Added] = field(default_factory=list)
    progress: dict[int, int] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)
    buried: list[DeadLetter] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
    sequences: dict[str, Sequenced] = field(default_factory=dict)
    remembered: dict[str, float] = field(default_factory=dict)
    last_chunk: int = 0
    last_letter: int = 0

    @classmethod
    def of(
        cls, changes: Sequence[Change], chunks: Mapping[int, int], letters: Container[int]
    ) -> "Batch":
        """Work it out.

        Args:
            changes: in the order in which they happened.
            chunks: the messages of each chunk that is there.
            letters: the ids of the letters that are there.

        Raises:
            ValueError: a change of what is not there, or an addition of what is.

        """
        return _Netting(chunks, letters).net(changes)


class _Netting:
    def __init__(self, chunks: Mapping[int, int], letters: Container[int]) -> None:
        self._chunks, self._letters = chunks, letters
        self._added: dict[int, Added] = {}
        self._removed: dict[int, None] = {}
        self._buried: dict[int, DeadLetter] = {}
        self._discarded: dict[int, None] = {}
        self._batch = Batch()

    def net(self, changes: Sequence[Change]) -> Batch:
        batch = self._batch
        for change in changes:
            match change:
                case Added():
                    self._add(change)
                case Advanced(id, done):
                    self._advance(id, done)
                case Removed(id):
                    self._remove(id)
                case Buried(letter):
                    self._bury(letter)
                case Discarded(id):
                    self._discard(id)
                case Sequenced(client):
                    batch.sequences.pop(client, None)  # the last one of all is last
                    batch.sequences[client] = change
                case Remembered(key, until):
                    batch.remembered[key] = until
        batch.added, batch.removed = list(self._added.values()), list(self._removed)
        batch.buried, batch.discarded = list(self._buried.values()), list(self._discarded)
        return batch

    def _add(self, added: Added) -> None:
        id = added.chunk.id  # noqa: A001 - the word of the field
        if id in self._chunks or id in self._added:
            raise ValueError(f"chunk {id} is there already")
        self._added[id] = added
        self._batch.last_chunk = max(self._batch.last_chunk, id)

    def _advance(self, id: int, done: int) -> None:  # noqa: A002 - the word of the field
        if done >= self._count(id):
            self._remove(id)
        else:
            self._batch.progress[id] = max(done, self._batch.progress.get(id, 0))

    def _remove(self, id: int) -> None:  # noqa: A002
        self._count(id)
        self._batch.progress.pop(id, None)
        if self._added.pop(id, None) is None:
            self._removed[id] = None

    def _count(self, id: int) -> int:  # noqa: A002
        """Return the messages of a chunk, which has to be there."""
        if id in self._added:
            return self._added[id].chunk.count
        if id in self._removed or id not in self._chunks:
            raise ValueError(f"there is no chunk {id}")
        return self._chunks[id]

    def _bury(self, letter: DeadLetter) -> None:
        if letter.id in self._letters or letter.id in self._buried:
            raise ValueError(f"dead letter {letter.id} is there already")
        self._buried[letter.id] = letter
        self._batch.last_letter = max(self._batch.last_letter, letter.id)

    def _discard(self, id: int) -> None:  # noqa: A002
        if self._buried.pop(id, None) is not None:
            return
        if id in self._discarded or id not in self._letters:
            raise ValueError(f"there is no dead letter {id}")
        self._discarded[id] = None
