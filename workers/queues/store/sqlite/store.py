"""A durable queue in a SQLite file.

    write ─► transaction ─► fsync of the log (SQLite) ─► mark, fsync ─► are the files still ours?
                                                                          └─► the caller answers

"full": what was written survives the loss of power. "process": no fsync; it survives the end of
any process, SIGKILL included, but not the loss of power (after which a start says so).

No space: the transaction is undone, and a ballast is given back, so that what makes the queue
smaller can be written. A device that fails: nothing is tried again; a later fsync would say that
all is well of pages that the kernel has thrown away. Who still knows what was in it opens it anew:
into another file.
"""

import os
import sqlite3
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from supervisor.shortage import explained
from workers.queues.core.dedupe import MAX_KEYS
from workers.queues.core.journal import Change
from workers.queues.store.batch import Batch
from workers.queues.store.contract import (
    MAX_SEQUENCES,
    Damage,
    DamageKind,
    Recovered,
    State,
    StoreFailed,
    StoreFull,
)
from workers.queues.store.sqlite import ballast, opening, rows, schema
from workers.queues.store.sqlite.ahead import SqliteAhead
from workers.queues.store.sqlite.boot import BootNote
from workers.queues.store.sqlite.contents import Contents
from workers.queues.store.sqlite.file import Writes
from workers.queues.store.sqlite.index import Index
from workers.queues.store.sqlite.ledger import Ledger
from workers.queues.store.sqlite.lock import lock_folder
from workers.queues.store.sqlite.mark import Mark

#: Clients beyond those whose last put is kept, before they are forgotten.
SLACK_SEQUENCES = 10_000


class SqliteStore:
    """Keeps one queue in a folder of its own.

    Args:
        folder: where; made if it is not there, its parent has to be.
        durability: "full" or "process".
        ballast_bytes: kept for a full device.
        anew: what it is to hold, whatever there is; None: what there is.
        ahead: a file that was begun for that, which this one goes on with, and its lock; if an
            error is raised, they are still the caller's.

    Raises:
        StoreLocked: another process keeps this queue.
        StoreTooNew: a later version of this package wrote it; nothing was touched.
        StoreFailed: it cannot be opened: the device, or its permissions.

    """

    def __init__(
        self,
        folder: str,
        durability: str = "full",
        ballast_bytes: int = ballast.SIZE,
        anew: Recovered | None = None,
        ahead: SqliteAhead | None = None,
    ) -> None:
        if durability not in ("full", "process"):
            raise ValueError(f'durability is "full" or "process", not {durability!r}')
        self.state = State.OPEN
        self.why = ""  # it is not OPEN
        self._folder, self._sync = folder, durability == "full"
        self._ballast = ballast.Ballast(os.path.join(folder, "ballast"), ballast_bytes)
        try:
            self._lock = lock_folder(folder) if ahead is None else ahead.lock
            try:
                self._open(None if anew is None else _contents(anew), ahead)
            except BaseException:
                if ahead is None:
                    os.close(self._lock)
                raise
        except (OSError, sqlite3.Error) as error:
            raise self._unopened(error) from error

    def _open(self, anew: Contents | None, ahead: SqliteAhead | None) -> None:
        if ahead is None:
            schema.remove_file(os.path.join(self._folder, schema.NEW))
        self._mark = Mark(os.path.join(self._folder, "mark"), self._sync)
        try:
            if anew is None:
                opened = self._open_folder()
            else:
                opened = opening.begin_anew(self._folder, self._mark, anew, self._sync, ahead)
        except BaseException:
            self._mark.close()
            raise
        self._file = opened.file
        try:
            self._begin(opened)
        except (OSError, sqlite3.Error) as error:
            failed = self._unopened(error)  # before inodes are given back by closing
            self._close_files()
            raise failed from error
        except BaseException:
            self._close_files()
            raise

    def _open_folder(self) -> opening.Opened:
        """Open what there is; if there is no space for that, with the space of the ballast."""
        try:
            return opening.open_folder(self._folder, self._mark, self._sync)
        except (OSError, sqlite3.Error) as error:
            if not _is_full(error) and not self._has_no_room(error, 0):
                raise
        self._ballast.give()
        return opening.open_folder(self._folder, self._mark, self._sync)

    def _unopened(self, error: Exception) -> StoreFailed:
        why = explained(error, self._folder)
        return StoreFailed(f"{self._folder} cannot be opened: {why}")

    def _close_files(self) -> None:
        self._file.close()
        self._mark.close()

    def _begin(self, opened: opening.Opened) -> None:
        """Take over what was opened, and note what was found."""
        contents = opened.contents
        untold = self._unclean() + (contents.damage if opened.kept else [])
        self._index = Index(opened.ledger, contents)
        self._clients = len(contents.sequences)  # at least so many rows
        self._keys = len(contents.keys)  # the same
        self.damage = contents.past + (untold if opened.kept else contents.damage + untold)
        self._recovered = Recovered(
            contents.chunks,
            contents.letters,
            {one.client: one for one in contents.sequences},
            contents.keys,
            list(self.damage),
            opened.ledger.last_chunk,
            opened.ledger.last_letter,
        )
        writes = Writes(damage=[rows.damage_row(one) for one in untold])
        ledger = self._index.ledger.after(Batch())
        try:
            self._commit(writes, ledger, Batch())
        except StoreFull:  # the ballast was given back
            self._commit(writes, ledger, Batch())
        if self._boot is not None:
            self._boot.begin()
        if not self._ballast.take():
            self._fill("there is no space for the ballast")

    def _unclean(self) -> list[Damage]:
        """Say whether the machine went down under a queue that is not synced."""
        self._boot = None if self._sync else BootNote(os.path.join(self._folder, "open"))
        if self._boot is None or not self._boot.went_down():
            return []
        what = "the machine went down while it was open: what it took last may be lost"
        return [Damage(DamageKind.LOST, what, found=time.time())]

    def recover(self) -> Recovered:
        """Return what was there when it was opened."""
        recovered, self._recovered = self._recovered, Recovered()
        return recovered

    def close(self) -> None:
        """End it: what is in the log is copied into the file, and synced in either mode."""
        if self.state is State.CLOSED:
            return
        failed, self.state = self.state is State.FAILED, State.CLOSED
        self._file.close()
        if self._boot is not None and not failed:
            self._settle(self._boot)
        self._mark.close()
        os.close(self._lock)

    def _settle(self, boot: BootNote) -> None:
        try:
            schema.sync_path(self._file.path)
            schema.sync_path(self._folder)
            boot.end()
        except OSError:
            pass  # the next start on another boot says that something may be lost

    # --- writing --------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        """Keep changes; see `Store`."""
        if self.state in (State.FAILED, State.CLOSED):
            raise StoreFailed(self.why or "the store is closed")
        batch = self._index.batch(changes)
        ledger = self._index.ledger.after(batch)
        try:
            writes = self._writes(batch, ledger)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"a number is too large to be kept: {error}") from error
        self._commit(writes, ledger, batch)
        self._clients += len(batch.sequences)
        self._keys += len(batch.remembered)
        if self._file.checkpoint_is_due:
            self._care(self._file.checkpoint)

    def _writes(self, batch: Batch, ledger: Ledger) -> Writes:
        return Writes(
            chunks=[rows.chunk_row(added.chunk) for added in batch.added],
            progress=[rows.progress_row(*one) for one in batch.progress.items()],
            letters=[rows.letter_row(letter) for letter in batch.buried],
            sequences=[rows.sequence_row(o, ledger.commit) for o in batch.sequences.values()],
            keys=[rows.key_row(*one) for one in batch.remembered.items()],
            removed=batch.removed,
            unprogressed=self._index.with_progress(batch),
            discarded=batch.discarded,
        )

    def _commit(self, writes: Writes, ledger: Ledger, batch: Batch) -> None:
        try:
            self._file.commit(writes, ledger)
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        try:
            self._mark.write(ledger)
        except OSError as error:  # even for want of space: the write is kept, and must not be
            raise self._failure(error) from error
        self._index.apply(batch, ledger)
        if not self._file.is_ours():
            self._replace()

    def _refusal(self, error: Exception) -> StoreFull | StoreFailed:
        """Draw the consequences of an error; return what to tell the caller."""
        if _is_full(error) or self._has_no_room(error, self._file.log_bytes()):
            self._fill(f"no space is left: {explained(error, self._folder)}")
            return StoreFull(self.why)
        return self._failure(error)

    def _has_no_room(self, error: Exception, offset: int) -> bool:
        """Whether it was for want of space that a write failed, though SQLite says no more.

        It knows ENOSPC only: a quota, or a limit of file sizes, is an error of the device to it.
        """
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_IOERR_WRITE:
            return False
        return ballast.has_no_room(self._folder, offset)

    def _failure(self, error: Exception) -> StoreFailed:
        self.state, self.why = State.FAILED, f"the device failed: {explained(error, self._folder)}"
        return StoreFailed(self.why)

    def _fill(self, why: str) -> None:
        self._ballast.give()
        self.state, self.why = State.FULL, why

    def _replace(self) -> None:
        """Write the file anew: it, or its log, was removed or replaced while it was open.

        Raises:
            StoreFailed: that cannot be done either.

        """
        what = "the file or its log was removed while it was open; it was written anew"
        damage = Damage(DamageKind.REPLACED, what, found=time.time())
        old = self._file
        ledger = replace(self._index.ledger, file=self._index.ledger.file + 1)
        try:
            self._file = old.copy(self._folder, ledger.file, self._sync)
            self._file.commit(Writes(damage=[rows.damage_row(damage)]), ledger)
            self._mark.write(ledger)
        except (OSError, sqlite3.Error) as error:
            self.state = State.FAILED
            self.why = f"the file was removed while it was open: {error}"
            raise StoreFailed(self.why) from error
        self._index.ledger = ledger
        self.damage.append(damage)
        old.close()
        schema.remove_file(old.path)

    # --- care -----------------------------------------------------------------------------------

    def tend(self) -> None:
        """Do what can wait: checkpoint, give space back, see whether there is space again."""
        if self.state in (State.FAILED, State.CLOSED):
            return
        self._care(self._tend)

    def _tend(self) -> None:
        if not self._file.is_ours():
            self._replace()
        if self._clients > MAX_SEQUENCES + SLACK_SEQUENCES:
            self._clients = self._file.forget_sequences(MAX_SEQUENCES)
        if self._keys:
            self._keys = self._file.forget_keys(time.time(), MAX_KEYS)
        self._file.shrink()
        self._file.checkpoint(truncate=self.state is State.FULL)
        if self.state is State.FULL and self._ballast.take():
            self.state, self.why = State.OPEN, ""

    def _care(self, work: Callable[[], None]) -> None:
        """Do something that no caller waits for: what goes wrong is told to the next write."""
        try:
            work()
        except (OSError, sqlite3.Error) as error:
            self._refusal(error)
        except StoreFailed:
            pass  # the state says so


def _contents(anew: Recovered) -> Contents:
    """Make the contents of a file of what it is to hold."""
    what = "the device failed; all was written anew from what was open"
    return Contents(
        ledger=Ledger(0, 0, anew.last_chunk, anew.last_letter),
        chunks=anew.chunks,
        letters=anew.letters,
        sequences=list(anew.sequences.values()),
        keys=anew.keys,
        damage=[Damage(DamageKind.REPLACED, what, found=time.time())],
    )


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in ballast.NO_SPACE
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
