"""What a broker keeps of a durable queue, and when: one write for all of a pass, then the word.

A put is confirmed, and delivered, only when it is kept. Acknowledgements wait a little, to be
written together: what is lost of them is a redelivery.

A store that has failed is opened again after a while. The queue goes on meanwhile, and it knows all
that was ever confirmed: so it is written anew, and nothing of the failed file is believed. Chunks
are written ahead, some in each pass; what has changed since, in the end. Before the store could be
opened for the first time nothing was taken in: then what it has is read.
"""

import logging
import math
import os
from collections.abc import Callable, Sequence
from itertools import chain

from supervisor.shortage import explained
from workers.queues.broker.connection import Connection
from workers.queues.broker.refusals import why
from workers.queues.core.chunk import Chunk
from workers.queues.core.clients import Clients, Sent
from workers.queues.core.intake import DUPLICATE
from workers.queues.core.journal import Added, Advanced, Change, Remembered, Removed, Sequenced
from workers.queues.core.queue import QueueCore
from workers.queues.store.contract import (
    Ahead,
    Damage,
    Recovered,
    State,
    Store,
    StoreError,
    StoreFailed,
    StoreFull,
    order,
)
from workers.queues.store.sqlite.ahead import SqliteAhead
from workers.queues.store.sqlite.store import SqliteStore

#: Seconds that acknowledgements wait to be written, when no put is.
PATIENCE = 0.05
#: Seconds after which a full store is tried again.
RETRY = 1.0
#: Seconds after which a store that has failed is opened again: at first, and at most.
REOPEN, REOPEN_AT_MOST = 2.0, 120.0

#: Opens a store: with what it has, or with what it is given, going on with a head start if any.
Opener = Callable[[Recovered | None, Ahead | None], Store]
#: Begins a head start on a store that is to hold these chunks.
Beginner = Callable[[Sequence[Chunk]], Ahead]

_log = logging.getLogger(__name__)


class Keeping:
    """One queue's store, and the puts that wait for it.

    ``trouble``: what is wrong with the store; empty: nothing.

    Args:
        opener: opens it; raises StoreError.
        beginner: begins to write it anew; raises StoreError.

    """

    def __init__(self, opener: Opener, beginner: Beginner) -> None:
        self._opener, self._beginner = opener, beginner
        self._ahead: Ahead | None = None  # the store is being written anew
        self._store: Store | None = None
        self.trouble = ""
        self._known = False  # the queue has been given what the store had
        self._reopening = Reopening()
        self.clients = Clients()
        self._told = 0  # of the damage that the store has found, so much is logged
        self._puts: list[tuple[Connection, int, Chunk | None]] = []
        self._keys: set[str] = set()  # for dedupe, of these
        self._doubles: list[tuple[Connection, int]] = []  # puts with one of these keys
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
        if chunk is not None and chunk.extra is not None and chunk.extra.dedupe:
            self._keys.add(chunk.extra.dedupe)
        assert connection.sent is not None
        self._senders[connection.sent] = None

    def double(self, connection: Connection, sequence: int, key: str) -> bool:
        """Say whether a duplicate is one of a put that is not written yet; it is told later then.

        Who hears "duplicate" forgets the message: it has to be kept by then, by the other put.
        """
        if key not in self._keys:
            return False
        assert connection.sent is not None
        connection.sent.rejected(sequence, DUPLICATE)
        self._doubles.append((connection, sequence))
        return True

    def restore(self, core: QueueCore, now: float) -> None:
        """Open the store, and give a queue what it has kept: as of ``now`` it waits."""
        if not self._open(core, None):
            return
        assert self._store is not None
        kept = self._store.recover()
        self._known = True
        core.books.last_chunk = kept.last_chunk
        core.restore(kept.chunks, now)
        core.burial.letters.restore(kept.letters, kept.last_letter)
        core.intake.window.restore(kept.keys)
        self.clients.restore(kept.sequences)
        self._look(core.definition.name)

    def _open(self, core: QueueCore, anew: Recovered | None) -> bool:
        queue = core.definition.name
        try:
            self._store = self._opener(anew, self._ahead)
        except StoreError as error:
            self._cannot(queue, error)
            return False
        self._ahead = None
        self.trouble, self._told, self._reopening = "", 0, Reopening()
        return True

    def _cannot(self, queue: str, error: StoreError) -> None:
        """Say that the store cannot be opened for now."""
        self.trouble = f"failed: {error}"
        _log.error("queue %s refuses puts: it cannot be kept: %s", queue, error)
        self._give_up()

    def _give_up(self) -> None:
        """Write on at nothing that was begun."""
        if self._ahead is not None:
            self._ahead.give_up()
            self._ahead = None

    def commit(self, core: QueueCore, dirty: dict[int, Connection], now: float) -> None:
        """Write what has to be, and confirm what was put."""
        self._commit(core, dirty, now)
        if self._ahead is not None:
            self._go_ahead(core)
            self.due = now  # for the next step, when others had their turn

    def _commit(self, core: QueueCore, dirty: dict[int, Connection], now: float) -> None:
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
        self._decided(DUPLICATE, core, dirty)
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
            self._failed(core, str(error))
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
                connection.reject(sequence, "store", why("store", core, self.trouble))
            dirty[connection.number] = connection
        self._decided("store", core, dirty)
        return refused

    def _decided(self, doubles: str, core: QueueCore, dirty: dict[int, Connection]) -> None:
        """All puts are written, or refused; so are their doubles: say why."""
        for connection, sequence in self._doubles:
            connection.reject(sequence, doubles, why(doubles, core, self.trouble))
            dirty[connection.number] = connection
        self._puts.clear()
        self._keys.clear()
        self._doubles.clear()

    def _failed(self, core: QueueCore, why: str) -> None:
        """Close a store that has failed."""
        assert self._store is not None
        self.trouble = f"failed: {why}"
        _log.error("queue %s takes nothing for now: %s", core.definition.name, why)
        self._store.close()
        self._store = None

    def tend(self, core: QueueCore, now: float) -> bool:
        """Let the store do what can wait; say whether there is something to commit."""
        if self._store is None:
            return self._ahead is None and self._reopening.is_due(now) and self._reopen(core, now)
        self._store.tend()
        if self._store.state is State.FAILED:
            self._failed(core, self._store.why)
        else:
            self._look(core.definition.name)
        return False

    def _reopen(self, core: QueueCore, now: float) -> bool:
        if not self._known:
            self.restore(core, now)
            if self._store is not None:
                self._works(core)
        else:
            try:
                self._ahead = self._beginner(_all_of(core, self.clients).chunks)
            except StoreError as error:
                self._cannot(core.definition.name, error)
            else:
                self._go_ahead(core)
        return self._store is not None or self._ahead is not None

    def _go_ahead(self, core: QueueCore) -> None:
        """Write on what is written anew; when there is no more, open it."""
        assert self._ahead is not None
        try:
            if self._ahead.step():
                return
        except StoreError as error:
            self._cannot(core.definition.name, error)
            return
        if self._open(core, _all_of(core, self.clients)):
            assert self._store is not None
            self._store.recover()
            assert core.books.journal is not None
            core.books.journal.clear()  # all that it says is written
            self._look(core.definition.name)
            self._works(core)

    def _works(self, core: QueueCore) -> None:
        _log.warning("queue %s takes puts again: its store works", core.definition.name)

    def _look(self, queue: str) -> None:
        """See how the store is, and log what it has found since."""
        assert self._store is not None
        state = self._store.state
        if state is State.OPEN:
            self.trouble, self._full_until = "", 0.0
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
        self._commit(core, dirty, math.inf)
        self._give_up()
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


def _all_of(core: QueueCore, clients: Clients) -> Recovered:
    """Return all of a queue that its store has to hold. Calls are nobody's but their callers'."""
    consumers = core.delivery.consumers.values()
    leased = (chunk for one in consumers for chunk in one.leased.values())
    chunks = [one for one in chain(core.stock, leased) if not one.caller and not one.void]
    letters = core.burial.letters
    return Recovered(
        chunks=sorted(chunks, key=order),
        letters=letters.page(0, len(letters)),
        sequences=clients.changes(),
        keys=core.intake.window.keys(),
        last_chunk=core.books.last_chunk,
        last_letter=letters.last,
    )


class Reopening:
    """When a store that cannot be used is tried again: soon at first, then ever more rarely."""

    def __init__(self) -> None:
        self._pause = REOPEN
        self._at: float | None = None  # by the broker's clock; None: nobody has asked yet

    def is_due(self, now: float) -> bool:
        """Whether it is time to try; the next time is later."""
        if self._at is None:
            self._at = now + self._pause
        if now < self._at:
            return False
        self._pause = min(2 * self._pause, REOPEN_AT_MOST)
        self._at = now + self._pause
        return True


def keeping_of(state: str, queue: str, durability: str) -> Keeping:
    """Make the keeping of a queue in the state directory; `restore` opens it."""

    def folder() -> str:
        above = os.path.join(state, "queues")
        try:
            os.makedirs(above, mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreFailed(f"{above} cannot be made: {explained(error, above)}") from error
        return os.path.join(above, queue)

    def opened(anew: Recovered | None, ahead: Ahead | None) -> Store:
        assert ahead is None or isinstance(ahead, SqliteAhead)
        return SqliteStore(folder(), durability, anew=anew, ahead=ahead)

    return Keeping(opened, lambda chunks: SqliteAhead(folder(), chunks))
