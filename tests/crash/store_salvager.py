"""A process that damages a queue's file, and opens it: what can be read goes into a new one.

Run: python -m tests.crash.store_salvager FOLDER KIND (row, missing, file, old)
"""

import os
import sqlite3
import sys
from pathlib import Path

from tests.conformance.store_cases import chunk, letter
from tests.crash.store_writer import answer
from workers.queues.core.journal import Added, Advanced, Buried, Sequenced
from workers.queues.store.sqlite.store import SqliteStore

FILE = "queue-0001.db"


def main() -> None:
    """Write, damage, open again."""
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    store = SqliteStore(str(folder), "full", 4096)
    store.write([Added(chunk(number, 3)) for number in (1, 2, 3, 4)])
    store.write([Advanced(3, 1), Buried(letter(1)), Sequenced("client", 4)])
    store.close()
    (folder / "copy").write_bytes((folder / FILE).read_bytes())
    store = SqliteStore(str(folder), "full", 4096)
    store.write([Added(chunk(5, 3))])
    store.close()
    damage(folder, kind)
    answer("damaged")
    store = SqliteStore(str(folder), "full", 4096)
    found = store.recover()
    answer(f"reported {len(found.damage)}")
    store.close()
    answer("closed")


def damage(folder: Path, kind: str) -> None:
    """Do something to the file."""
    path = folder / FILE
    if kind == "old":
        os.rename(folder / "copy", path)
        return
    if kind == "file":
        with open(path, "r+b", buffering=0) as file:
            file.write(b"no database")
            os.fsync(file.fileno())
        return
    connection = sqlite3.connect(path)
    statement = "UPDATE chunk SET body = x'00'" if kind == "row" else "DELETE FROM chunk"
    connection.execute(f"{statement} WHERE id = 2")
    connection.commit()
    connection.close()


if __name__ == "__main__":
    main()
