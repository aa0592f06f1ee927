"""A process that writes groups of changes to a store, and says of each that it was answered for.

Run: python -m tests.crash.store_writer FOLDER DURABILITY GROUPS SEED
"""

import os
import sys

from tests.conformance.store_cases import Writer
from workers.queues.core.journal import Change
from workers.queues.store.contract import StoreError, StoreFull
from workers.queues.store.sqlite.store import SqliteStore

#: Groups between two rests, in which the store is tended.
REST = 7


def main() -> None:
    """Write the groups one by one; on an error say which one could not be written."""
    folder, durability, groups, seed = sys.argv[1:]
    store = SqliteStore(folder, durability, 1 << 16)
    answer("open")
    writer = Writer(int(seed))
    for number in range(1, int(groups) + 1):
        group = writer.group()
        try:
            write(store, group, number)
        except StoreError as error:
            answer(f"refused {number} {type(error).__name__}")
            break
        answer(f"kept {number}")
        if number % REST == 0:
            store.tend()
    store.close()
    answer("closed")


def write(store: SqliteStore, group: list[Change], number: int) -> None:
    """Write a group; once more, if there was no space the first time."""
    try:
        store.write(group)
    except StoreFull:
        answer(f"full {number}")
        store.tend()
        store.write(group)


def answer(word: str) -> None:
    """Tell the outside, with one system call."""
    os.write(1, word.encode() + b"\n")


if __name__ == "__main__":
    main()
