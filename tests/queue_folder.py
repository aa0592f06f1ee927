"""The folder of a durable queue: made, opened, looked at, and damaged."""

import sqlite3
from pathlib import Path

from tests.conformance.store_cases import chunk
from workers.queues.core.journal import Added, Sequenced
from workers.queues.store.sqlite.store import SqliteStore

FILE = "queue-0001.db"


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
