"""What a broker keeps of a durable queue, and when: one write for all of a pass, then the word.

A put is confirmed, and delivered, only when it is kept. Acknowledgements wait a little, to be
written together: what is lost of them is a redelivery.
"""

import logging
import math
import os
from collections.abc import Sequence

from workers.queues.broker.connection import Connection
from workers.queues.core.chunk import Chunk
from workers.queues.core.clients import Clients, Sent
from workers.queues.core.journal import Added, Advanced, Change, Remembered, Removed, Sequenced
from workers.queues.core.queue import QueueCore
from workers.queues.store.contract import Damage, State, Store, StoreError, StoreFull
from workers.queues.store.sqlite.store import SqliteStore

#: Seconds that acknowledgements wait to be written, when no put is.
PATIENCE = 0.05
#: Seconds after which a full store is tried again.
RETRY = 1.0

_log = logging.getLogger(__name__)


class Keeping:
    """One queue's store, and the puts that wait for it.

    ``trouble``: what is wrong with the store; empty: nothing.
    """

    def __init__(self, store: Store | None, trouble: str = "") -> None:
        self._store, self.trouble = store, trouble
        self.clients = Clients()
        self._told = 0  # of the damage that the store has found, so much is logged
        self._puts: list[tuple[Connection, int, Chunk | None]] = []
        self._senders: dict[Sent, None] = {}
        self.due = math.inf  # what has to be written, has to be by then
        self._full_until = 0.0

    @property
    def refuses(self) -> bool:
        """Whether puts are refused: there is no space, or the store takes nothing any more."""
        return bool(self.trouble)

    @property
    def damage(self) -> int:
        """How many things the store has found damaged."""
        return len(self._damage())

    def put(self, connection: Connection, sequence: int, chunk: Chunk | None) -> None:
        """Confirm a put when all is written; no chunk: it was taken before."""
        self._puts.append((connection, sequence, chunk))
        assert connection.sent is not None
        self._senders[connection.sent] = None

    def restore(self, core: QueueCore) -> None:
        """Give a queue what the store has kept."""
        if self._store is None:
            return
        kept = self._store.recover()
        core.books.last_chunk = kept.last_chunk
        core.restore(kept.chunks)
        core.burial.letters.restore(kept.letters, kept.last_letter)
        core.intake.window.restore(kept.keys)
        self.clients.restore(kept.sequences)
        self._look(core.definition.name)

    def commit(self, core: QueueCore, dirty: dict[int, Connection], now: float) -> None:
        """Write what has to be, and confirm what was put."""
        journal = core.books.journal
        assert journal is not None
        if not self._puts:
            if not journal:
                self.due = math.inf
                return
            if now < self.due and self.due != math.inf:
                return
            if self.due == math.inf:
                self.due = now + PATIENCE
                return
        if self._full_until > now:
            self.due = self._full_until
            return
        journal.extend(sent.change() for sent in self._senders)
        if not self._write(core, journal, dirty, now):
            return
        for connection, sequence, _ in self._puts:
            connection.confirm(sequence)
            dirty[connection.number] = connection
        self._puts.clear()
        self._senders.clear()
        journal.clear()
        self.due = math.inf

    def _write(
        self, core: QueueCore, journal: list[Change], dirty: dict[int, Connection], now: float
    ) -> bool:
        if self._store is None:
            self._refuse(core, dirty)
            journal.clear()
            self.due = math.inf
            return False
        try:
            self._store.write(journal)
        except StoreFull:
            self._look(core.definition.name)
            refused = self._refuse(core, dirty)
            # What the senders have put is said anew: the refused puts are gaps in it now.
            journal[:] = [change for change in journal if not _of(change, refused)]
            self._full_until = self.due = now + (0.0 if refused else RETRY)
            return False
        except StoreError as error:
            self.trouble = f"failed: {error}"
            _log.error("queue %s takes nothing more: %s", core.definition.name, error)
            self._store.close()
            self._store = None
            self._refuse(core, dirty)
            self._senders.clear()
            journal.clear()
            self.due = math.inf
            return False
        self._look(core.definition.name)
        return True

    def _refuse(self, core: QueueCore, dirty: dict[int, Connection]) -> set[int]:
        """Take back the puts that could not be kept; nobody has them yet."""
        refused: set[int] = set()
        for connection, sequence, chunk in self._puts:
            if chunk is None:
                connection.confirm(sequence)
            else:
                refused.add(chunk.id)
                core.undo(chunk)
                connection.reject(sequence, "store")
            dirty[connection.number] = connection
        self._puts.clear()
        return refused

    def tend(self, queue: str) -> None:
        """Let the store do what can wait."""
        if self._store is not None:
            self._store.tend()
            self._look(queue)

    def _look(self, queue: str) -> None:
        """See how the store is, and log what it has found since."""
        assert self._store is not None
        state = self._store.state
        if state is State.OPEN:
            self.trouble = ""
        elif not self.trouble:
            self.trouble = f"{state.value}: {self._store.why}"
            _log.error("queue %s refuses puts: %s", queue, self.trouble)
        for found in self._damage()[self._told :]:
            where = f" (ids {found.first} to {found.last})" if found.last else ""
            kept = f"; the damaged file is {found.path}" if found.path else ""
            _log.error("queue %s is damaged: %s%s%s", queue, found.what, where, kept)
        self._told = self.damage

    def _damage(self) -> Sequence[Damage]:
        return () if self._store is None else self._store.damage

    def close(self, core: QueueCore, dirty: dict[int, Connection]) -> None:
        """Write what is left, and close the store."""
        self.due = self._full_until = 0.0
        self.commit(core, dirty, math.inf)
        if self._store is not None:
            self._store.close()
            self._store = None


def _of(change: Change, chunks: set[int]) -> bool:
    """Whether a change is of one of these chunks, or of who has put them."""
    match change:
        case Added(chunk=chunk):
            return chunk.id in chunks
        case Remembered(chunk=number):
            return number in chunks
        case Sequenced():
            return True
        case Advanced(id=number) | Removed(id=number):
            return number in chunks
    return False


def open_keeping(state: str, queue: str, durability: str) -> Keeping:
    """Open the store of a queue in the state directory; what is wrong with it is its `trouble`."""
    try:
        folder = os.path.join(state, "queues")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return Keeping(SqliteStore(os.path.join(folder, queue), durability))
    except (StoreError, OSError) as error:
        _log.error("queue %s refuses puts: it cannot be kept: %s", queue, error)
        return Keeping(None, f"failed: {error}")
