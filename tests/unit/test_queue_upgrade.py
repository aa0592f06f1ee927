"""A durable queue whose files an earlier version of this package has written."""

import struct
import zlib
from pathlib import Path

import pytest

from tests.queue_folder import FILE, contents, edit, kept, opened
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import Buried
from workers.queues.store.contract import DamageKind

LETTER = DeadLetter(1, b"one", b"", "failed", 3, "ValueError: é", "Traceback", 10.0, 20.0)
_NUMBERS = struct.Struct("<qqddqIIII")


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a queue of version 1: three messages, one dead letter."""
    made = kept(tmp_path)
    first_version(made)
    return made


def test_a_file_of_version_1_goes_on_as_one_of_today(folder: Path) -> None:
    """All that was in it is in a new file, which takes what is new; nothing of it is damage."""
    store = opened(folder)
    found = store.recover()
    assert [one.id for one in found.chunks] == [1, 2, 3]
    assert [one.sequence for one in found.sequences.values()] == [3]
    assert (found.letters, found.last_letter, found.damage) == ([LETTER], 1, [])
    later = DeadLetter(2, b"two", b"", "failed", 1, number=3, worker="w.0#1", process=7)
    store.write([Buried(later)])
    store.close()
    store = opened(folder)
    found = store.recover()
    assert (found.letters, found.damage) == ([LETTER, later], [])
    store.close()
    names = set(contents(folder))
    assert FILE not in names
    assert not [name for name in names if name.startswith("damaged")]


def test_a_damaged_file_of_version_1_is_salvaged(folder: Path) -> None:
    """As any other: what is right goes on, the rest is told, and the old file set aside."""
    edit(folder, "UPDATE letter SET error = 'other'")
    store = opened(folder)
    found = store.recover()
    assert [one.id for one in found.chunks] == [1, 2, 3]
    assert [(one.id, one.reason, one.message) for one in found.letters] == [(1, "corrupt", b"one")]
    assert [one.kind for one in found.damage] == [DamageKind.ROW]
    store.close()
    assert f"damaged/{FILE}" in contents(folder)
