"""What a queue's file contains, without the contents: enough to work out the next write. Pure."""

from collections.abc import Sequence

from workers.queues.core.journal import Change
from workers.queues.store.batch import Batch
from workers.queues.store.sqlite.contents import Contents
from workers.queues.store.sqlite.ledger import Ledger


class Index:
    """The ids that are in a file.

    Args:
        ledger: of the file.
        contents: what was read from it.

    """

    def __init__(self, ledger: Ledger, contents: Contents) -> None:
        self.ledger = ledger
        self._counts = {chunk.id: chunk.count for chunk in contents.chunks}
        self._letters = {letter.id for letter in contents.letters}
        self._progressed = set(contents.progressed)  # have a row of how far they are

    def batch(self, changes: Sequence[Change]) -> Batch:
        """Work out what changes come to; raises ValueError as `Batch.of` does."""
        return Batch.of(changes, self._counts, self._letters)

    def with_progress(self, batch: Batch) -> list[int]:
        """Say which of the chunks that are removed have a row of how far they are."""
        return [gone for gone in batch.removed if gone in self._progressed]

    def apply(self, batch: Batch, ledger: Ledger) -> None:
        """Note that a batch was written."""
        self.ledger = ledger
        for id in batch.removed:  # noqa: A001 - the word of the field
            del self._counts[id]
        self._progressed.difference_update(batch.removed)
        for added in batch.added:
            self._counts[added.chunk.id] = added.chunk.count
        self._progressed.update(batch.progress)
        self._letters.difference_update(batch.discarded)
        self._letters.update(letter.id for letter in batch.buried)
