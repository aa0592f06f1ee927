"""One open file of a queue: transactions on it, and the care it needs."""

import os
import sqlite3
from dataclasses import dataclass, field

from workers.queues.store.sqlite import rows, schema
from workers.queues.store.sqlite.ledger import Ledger

#: Pages in the log before they are copied into the file, whatever else is to do.
CHECKPOINT_PAGES = 1000
#: Free pages that are left in the file, and those given back at once when nothing else is to do.
SPARE_PAGES, VACUUM_PAGES = 4096, 1024
#: Keys that have ended, forgotten in one go.
FORGOTTEN_KEYS = 10_000
#: Bytes of a page.
_PAGE = 4096


@dataclass(slots=True)
class Writes:
    """The statements of one transaction, as rows."""

    chunks: list[rows.Row] = field(default_factory=list)
    progress: list[rows.Row] = field(default_factory=list)
    letters: list[rows.Row] = field(default_factory=list)
    sequences: list[rows.Row] = field(default_factory=list)
    keys: list[rows.Row] = field(default_factory=list)
    damage: list[rows.Row] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    unprogressed: list[int] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)

    @property
    def pages(self) -> int:
        """About so many pages change."""
        bodies = sum(len(row[-2]) + len(row[-3]) for row in (*self.chunks, *self.letters))
        small = len(self.progress) + len(self.sequences) + len(self.removed) + len(self.chunks)
        small += 2 * len(self.keys)
        return 3 + bodies // _PAGE + small // 8


_LETTER = f"INSERT INTO letter ({schema.LETTER}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
_INSERTS = (
    ("chunks", "INSERT INTO chunk VALUES (?,?,?,?,?,?,?,?,?,?,?)"),
    (
        "progress",
        """INSERT INTO progress VALUES (?,?,?) ON CONFLICT (chunk) DO UPDATE
        SET done = excluded.done, crc = excluded.crc WHERE excluded.done > done""",
    ),
    ("letters", _LETTER),
    ("sequences", "INSERT OR REPLACE INTO sequence VALUES (?,?,?,?,?)"),
    ("keys", "INSERT OR REPLACE INTO dedupe VALUES (?,?,?)"),
    ("damage", "INSERT INTO damage VALUES (?,?,?,?,?,?)"),
)
_DELETES = (
    ("removed", "DELETE FROM chunk WHERE id = ?"),
    ("unprogressed", "DELETE FROM progress WHERE chunk = ?"),
    ("discarded", "DELETE FROM letter WHERE id = ?"),
)


def execute(connection: sqlite3.Connection, writes: Writes) -> None:
    """Do the statements, within a transaction."""
    for name, statement in _DELETES:
        ids = getattr(writes, name)
        if ids:
            connection.executemany(statement, [(id,) for id in ids])  # noqa: A001
    for name, statement in _INSERTS:
        new = getattr(writes, name)
        if new:
            connection.executemany(statement, new)


class QueueFile:
    """An open file.

    Args:
        connection: to it; alone.
        path: where it is.

    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self.path = path
        self._connection = connection
        self._log_pages = 0  # about so many, since the last checkpoint
        self._files: list[tuple[int, int] | None] = []

    def commit(self, writes: Writes, ledger: Ledger) -> None:
        """Do one transaction; durable when it returns, if the file was opened so.

        Raises:
            sqlite3.Error: nothing of it is there, except after a failing fsync: then who knows.

        """
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            execute(connection, writes)
            connection.execute("UPDATE ledger SET data = ? WHERE one = 1", (ledger.pack(),))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._log_pages += writes.pages
        if not self._files:
            self._files = self._present()

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether the log has become long."""
        return self._log_pages >= CHECKPOINT_PAGES

    def checkpoint(self, truncate: bool = False) -> None:
        """Copy the log into the file; the next write starts it from its beginning."""
        if self._log_pages or truncate:
            self._connection.execute(
                f"PRAGMA wal_checkpoint({'TRUNCATE' if truncate else 'PASSIVE'})"
            ).fetchall()
            self._log_pages = 0

    def shrink(self) -> None:
        """Give some free pages back to the device, if there are many."""
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        if free > SPARE_PAGES:
            # A step is one page, and `execute` takes one step of what returns no rows.
            self._connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
            self._log_pages += 3

    def forget_sequences(self, keep: int) -> int:
        """Forget all but the clients that put last; return how many are left."""
        self._connection.execute(
            "DELETE FROM sequence WHERE client IN (SELECT client FROM sequence"
            " ORDER BY commit_number DESC LIMIT -1 OFFSET ?)",
            (keep,),
        )
        (left,) = self._connection.execute("SELECT count(*) FROM sequence").fetchone()
        return int(left)

    def forget_keys(self, now: float, keep: int) -> int:
        """Forget keys that have ended, a page of them, and the oldest above ``keep``.

        Return how many are left.
        """
        delete = "DELETE FROM dedupe WHERE key IN (SELECT key FROM dedupe"
        ended = f"{delete} WHERE until <= ? ORDER BY until LIMIT ?)"
        gone = self._connection.execute(ended, (now, FORGOTTEN_KEYS)).rowcount
        (left,) = self._connection.execute("SELECT count(*) FROM dedupe").fetchone()
        if left > keep:
            oldest = f"{delete} ORDER BY until LIMIT ?)"
            gone += self._connection.execute(oldest, (left - keep,)).rowcount
        self._log_pages += gone // 4
        return min(int(left), keep)

    def log_bytes(self) -> int:
        """Return the size of the log."""
        try:
            return os.stat(self.path + "-wal").st_size
        except OSError:
            return 0

    def is_ours(self) -> bool:
        """Say whether the names still lead to the open files: somebody may have removed them."""
        return self._files == self._present()

    def copy(self, folder: str, number: int, sync: bool) -> "QueueFile":
        """Write what is open here, named or not, into a new file.

        Raises:
            sqlite3.Error, OSError: it cannot be done.

        """
        new = os.path.join(folder, schema.NEW)
        schema.remove_file(new)
        self._connection.execute("VACUUM INTO ?", (new,))
        schema.sync_path(new)
        path = os.path.join(folder, schema.file_name(number))
        schema.remove_file(path)
        os.rename(new, path)
        schema.sync_path(folder)
        return QueueFile(schema.open_file(path, sync), path)

    def close(self) -> None:
        """Close it; never raises: what was written is in the log, if not in the file."""
        try:
            self._connection.close()
        except sqlite3.Error:
            pass

    def _present(self) -> list[tuple[int, int] | None]:
        return [_identity(self.path), _identity(self.path + "-wal")]


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
