"""The folder of a durable queue: made, opened, looked at, and damaged."""

import sqlite3
import struct
import zlib
from pathlib import Path

from tests.conformance.store_cases import chunk
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import Added, Buried, Sequenced
from workers.queues.store.sqlite.store import SqliteStore

FILE = "queue-0001.db"
#: Of a queue of version 1.
LETTER = DeadLetter(1, b"one", b"", "failed", 3, "ValueError: é", "Traceback", 10.0, 20.0)
_NUMBERS = struct.Struct("<qqddqIIII")


def kept(directory: Path) -> Path:
    """Make the folder of a queue that was closed in order; it holds three messages."""
    store = SqliteStore(str(directory / "q"), "full", 4096)
    store.write([Added(chunk(1)), Added(chunk(2)), Added(chunk(3)), Sequenced("c", 3)])
    store.close()
    return directory / "q"


def opened(folder: Path, durability: str = "full") -> SqliteStore:
    """Open it."""
    return SqliteStore(str(folder), durability, 4096)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files there are."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def edit(folder: Path, statement: str) -> None:
    """Change what is in its file, behind its back."""
    connection = sqlite3.connect(folder / FILE)
    connection.execute(statement)
    connection.commit()
    connection.close()


def first_version(folder: Path) -> None:
    """Make of the queue in a folder what version 1 would have left, with one dead letter more."""
    texts = [text.encode() for text in (LETTER.reason, LETTER.error, LETTER.traceback)]
    numbers = LETTER.id, LETTER.attempts, LETTER.first_put, LETTER.died, 1
    crc = zlib.crc32(_NUMBERS.pack(*numbers, *map(len, texts), 0))
    for part in (*texts, b"", LETTER.message):
        crc = zlib.crc32(part, crc)
    store = opened(folder)
    store.write([Buried(LETTER)])
    store.close()
    edit(folder, "DROP TABLE letter")
    edit(
        folder,
        """CREATE TABLE letter (
        id INTEGER PRIMARY KEY, attempts INTEGER, first_put REAL, died REAL, whole INTEGER,
        reason TEXT, error TEXT, traceback TEXT, options BLOB, message BLOB, crc INTEGER)""",
    )
    values = ", ".join(map(repr, (*numbers, LETTER.reason, LETTER.error, LETTER.traceback)))
    edit(folder, f"INSERT INTO letter VALUES ({values}, x'', x'{b'one'.hex()}', {crc})")
    edit(folder, "PRAGMA user_version = 1")
