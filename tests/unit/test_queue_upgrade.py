"""A durable queue whose files an earlier version of this package has written."""

import resource
import sqlite3
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.store_cases import chunk
from tests.queue_folder import FILE, LETTER, contents, edit, first_version, kept, opened
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import Added, Buried, Removed
from workers.queues.store.contract import DamageKind
from workers.queues.store.sqlite import schema
from workers.queues.store.sqlite.file import QueueFile, Writes
from workers.queues.store.sqlite.ledger import Ledger

#: Of today.
LATER = DeadLetter(2, b"two", b"", "failed", 1, number=3, worker="w.0#1", process=7)


def version(folder: Path) -> int:
    """Read the version in the header of a queue's file."""
    (found,) = struct.unpack_from(">I", (folder / FILE).read_bytes(), 60)
    return int(found)


def no_space() -> sqlite3.Error:
    """Make what SQLite raises on a full device."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a queue of version 1: three messages, one dead letter."""
    made = kept(tmp_path)
    first_version(made)
    return made


def test_a_file_of_version_1_goes_on_as_one_of_today(folder: Path) -> None:
    """All that was in it is there, in the same file, which takes what is new; none is damage."""
    before = (folder / FILE).stat().st_ino
    store = opened(folder)
    found = store.recover()
    assert [one.id for one in found.chunks] == [1, 2, 3]
    assert [one.sequence for one in found.sequences.values()] == [3]
    assert (found.letters, found.last_letter, found.damage) == ([LETTER], 1, [])
    assert version(folder) == 2  # of a log that is not yet in the file nobody else would know
    store.write([Buried(LATER)])
    store.close()
    store = opened(folder)
    found = store.recover()
    assert (found.letters, found.damage) == ([LETTER, LATER], [])
    store.close()
    assert (folder / FILE).stat().st_ino == before
    assert set(contents(folder)) == {FILE, "mark", "lock", "ballast"}


def test_a_file_that_was_of_version_1_is_written_anew_as_any_other(folder: Path) -> None:
    """Its columns have another order, in a copy too."""
    store = opened(folder)
    (folder / FILE).unlink()
    store.write([Buried(LATER)])
    store.write([Buried(replace(LATER, id=3))])
    store.close()
    store = opened(folder)
    assert store.recover().letters == [LETTER, LATER, replace(LATER, id=3)]
    store.close()


def test_a_large_file_of_version_1_needs_no_room_for_a_second_one(tmp_path: Path) -> None:
    """Where no file can become larger than its first pages, it is opened, and takes acks."""
    folder = kept(tmp_path)
    store = opened(folder)
    large = chunk(4, body_size=1 << 20)
    store.write([Added(large)])
    store.close()
    first_version(folder)
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, most))
    try:
        store = opened(folder)
        assert [one.id for one in store.recover().chunks] == [1, 2, 3, 4]
        store.write([Removed(2)])
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    store = opened(folder)
    found = store.recover()
    assert ([one.id for one in found.chunks], found.letters) == ([1, 3, 4], [LETTER])
    assert found.damage == []
    store.close()


def test_without_any_room_it_gets_the_space_of_the_ballast(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is full: the upgrade fails while the ballast is there, and is tried again."""
    ballast, upgrade = folder / "ballast", schema.upgrade
    tries = []

    def on_a_full_device(connection: sqlite3.Connection) -> None:
        tries.append(ballast.exists())
        if ballast.exists():
            raise no_space()
        upgrade(connection)

    monkeypatch.setattr(schema, "upgrade", on_a_full_device)
    store = opened(folder)
    assert store.recover().letters == [LETTER]
    assert tries == [True, False]
    store.write([Removed(1)])
    store.close()


def test_the_first_write_gets_the_space_of_the_ballast(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade that has taken the last page leaves none for what follows it."""
    ballast, commit = folder / "ballast", QueueFile.commit

    def on_a_full_device(file: QueueFile, writes: Writes, ledger: Ledger) -> None:
        if ballast.exists():
            raise no_space()
        commit(file, writes, ledger)

    monkeypatch.setattr(QueueFile, "commit", on_a_full_device)
    store = opened(folder)
    assert store.recover().letters == [LETTER]
    store.close()


def test_a_letter_that_lost_who_it_was_is_damaged(folder: Path) -> None:
    """A row of today is not taken for one of version 1: its checksum covers what is gone."""
    store = opened(folder)
    store.write([Buried(LATER)])
    store.close()
    edit(folder, "UPDATE letter SET number = NULL, process = NULL, worker = NULL WHERE id = 2")
    store = opened(folder)
    found = store.recover()
    assert [(one.id, one.reason) for one in found.letters] == [(1, "failed"), (2, "corrupt")]
    store.close()


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
