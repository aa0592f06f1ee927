"""The file of a queue: its tables, how it is opened, how it comes to be.

A file is made aside, whole, and then gets its name: there is never a half made one. Its number is
in its name; the highest is the one that counts.
"""

import os
import re
import sqlite3
import struct

from workers.queues.store.contract import StoreTooNew

#: Version 1 did not know which message a dead letter was, nor whose: it lacks `_SINCE_2`.
VERSION = 2
#: In the header of every file, so that no other SQLite file is taken for one.
APPLICATION = 0x4C495143  # "LIQC"
#: Seconds to wait for somebody who looks into the file.
BUSY_SECONDS = 5.0
NEW = "new.db"

_NAME = re.compile(r"queue-(\d{1,9})\.db")
#: Offsets in SQLite's header: the magic, the version of the schema, the application.
_MAGIC = b"SQLite format 3\0"
_USER_VERSION, _APPLICATION = 60, 68

_LETTER = (
    "id", "attempts", "first_put", "died", "whole", "number", "process", "worker",
    "reason", "error", "traceback", "options", "message", "crc",
)  # fmt: skip
#: The columns of a letter in their order, which is not the one of a file that was of version 1.
LETTER = ", ".join(_LETTER)
_SINCE_2 = {"number": "INTEGER", "process": "INTEGER", "worker": "TEXT"}

#: Errors that say of what is in a file that it is not right. Any other one is of the device, of
#: permissions or of memory: then nothing is known of the file, and it is left as it is.
_DAMAGE = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_TOOBIG,
}
#: What reading a file raises: an error that quotes what is no text cannot even be made.
READ_ERRORS = (sqlite3.Error, UnicodeDecodeError)

TABLES = """
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY, origin INTEGER, count INTEGER, attempt INTEGER, done INTEGER,
    put_at REAL, expires REAL, not_before REAL, options BLOB, body BLOB, crc INTEGER
);
CREATE TABLE progress (chunk INTEGER PRIMARY KEY, done INTEGER, crc INTEGER);
CREATE TABLE letter (
    id INTEGER PRIMARY KEY, attempts INTEGER, first_put REAL, died REAL, whole INTEGER,
    number INTEGER, process INTEGER, worker TEXT,
    reason TEXT, error TEXT, traceback TEXT, options BLOB, message BLOB, crc INTEGER
);
CREATE TABLE sequence (
    client TEXT PRIMARY KEY, last TEXT, gaps TEXT, commit_number INTEGER, crc INTEGER
) WITHOUT ROWID;
CREATE TABLE dedupe (key TEXT PRIMARY KEY, until REAL, crc INTEGER) WITHOUT ROWID;
CREATE INDEX dedupe_until ON dedupe (until);
CREATE TABLE damage (
    kind TEXT, what TEXT, first INTEGER, last INTEGER, path TEXT, found REAL
);
CREATE TABLE ledger (one INTEGER PRIMARY KEY, data BLOB);
"""


def file_name(number: int) -> str:
    """Name the file of a number."""
    return f"queue-{number:04d}.db"


def file_numbers(folder: str) -> list[int]:
    """Return the numbers of the files in a folder, lowest first."""
    return sorted(int(match[1]) for name in os.listdir(folder) if (match := _NAME.fullmatch(name)))


def require_known(path: str) -> None:
    """Look at the version in the header of a file, without SQLite, which would write.

    Raises:
        StoreTooNew: a later version of this package wrote it.

    """
    with open(path, "rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):
        return  # that is found, and said, later
    (application,) = struct.unpack_from(">I", header, _APPLICATION)
    (version,) = struct.unpack_from(">I", header, _USER_VERSION)
    if application == APPLICATION and version > VERSION:
        raise StoreTooNew(
            f"{path} has the format {version}; this version of the package knows up to {VERSION}"
        )


def letter_columns(connection: sqlite3.Connection) -> str:
    """Return what to select for `LETTER` from a file of any version: NULL for what it lacks."""
    lacking = _lacking(connection)
    return ", ".join("NULL" if name in lacking else name for name in _LETTER)


def upgrade(connection: sqlite3.Connection) -> None:
    """Make this version of a file of an earlier one, in place: it takes a few pages, however large.

    Raises:
        sqlite3.Error: it is as it was; or as it is to be, and all that failed is a checkpoint.

    """
    lacking = _lacking(connection)
    if not lacking:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for name in lacking:
            connection.execute(f"ALTER TABLE letter ADD COLUMN {name} {_SINCE_2[name]}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    # Into the header: that is where an earlier version looks whether it knows the file.
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _lacking(connection: sqlite3.Connection) -> list[str]:
    try:
        known = {name for _, name, *_ in connection.execute("PRAGMA table_info(letter)")}
    except READ_ERRORS as error:
        if not is_damage(error):
            raise
        return []  # that is found, and said, by who reads the table
    return [name for name in _SINCE_2 if name not in known]


def is_damage(error: Exception) -> bool:
    """Say whether one of `READ_ERRORS` is the file's fault. (What has no code is no text.)"""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code in _DAMAGE


def open_file(path: str, sync: bool) -> sqlite3.Connection:
    """Open a file that is there, for this process alone.

    A text that is none is read with replacements: its row fails its checksum, and no other does.

    Raises:
        sqlite3.Error, UnicodeDecodeError: it is not one, or cannot be read.

    """
    address = f"file:{_quoted(path)}?mode=rw"
    connection = sqlite3.connect(address, timeout=BUSY_SECONDS, isolation_level=None, uri=True)
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        # Alone: no index of the log is shared in a file that somebody could delete.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
        # No fsync where power may take what it likes: the pages are the kernel's, not ours.
        connection.execute(f"PRAGMA synchronous = {'FULL' if sync else 'OFF'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # the store says when
        connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise sqlite3.OperationalError(f"no write-ahead log on this file system ({mode})")
        _require_writable(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_writable(connection: sqlite3.Connection, path: str) -> None:
    """Raise DatabaseError if it is the file that says that it is read-only, and not the system."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("UPDATE ledger SET data = data")
    except sqlite3.Error as error:  # any other fault is found, and said, later
        read_only = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY
        if read_only and os.access(path, os.W_OK):
            raise sqlite3.DatabaseError("its header says that it cannot be written") from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def create_file(folder: str) -> sqlite3.Connection:
    """Begin a new file, without its name yet: fill it, ledger and all, then `name_file`."""
    path = os.path.join(folder, NEW)
    remove_file(path)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        for statement in TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def name_file(folder: str, connection: sqlite3.Connection, number: int) -> str:
    """End a new file, and give it its name, durably; return its path."""
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    path = os.path.join(folder, file_name(number))
    remove_file(path + "-wal")  # of an earlier life: never to be taken for this one's
    sync_path(os.path.join(folder, NEW))
    os.rename(os.path.join(folder, NEW), path)
    sync_path(folder)
    return path


def remove_file(path: str) -> None:
    """Remove a file and what SQLite puts beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        try:
            os.unlink(path + suffix)
        except FileNotFoundError:
            pass


def sync_path(path: str) -> None:
    """Make a file, or the names in a folder, durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
