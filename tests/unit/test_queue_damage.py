"""What a durable queue does when its files are not as it left them."""

import errno
import os
from pathlib import Path

import pytest

from tests.conformance.store_cases import chunk, held
from tests.queue_folder import FILE, edit, kept, opened
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import Added, Buried, Removed
from workers.queues.store.contract import DamageKind, StoreFailed
from workers.queues.store.sqlite import boot, schema
from workers.queues.store.sqlite.mark import Mark


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a queue that holds three messages."""
    return kept(tmp_path)


def test_a_spoilt_row_is_a_dead_letter(folder: Path) -> None:
    """A chunk whose row is not what was written becomes a dead letter, and is named."""
    edit(folder, "UPDATE chunk SET body = x'00' WHERE id = 2")
    store = opened(folder)
    found = store.recover()
    assert [one.id for one in found.chunks] == [1, 3]
    assert [(one.reason, one.message, one.whole) for one in found.letters] == [
        ("corrupt", b"\0", False)
    ]
    assert [one.kind for one in found.damage] == [DamageKind.ROW]
    assert "chunk 2" in found.damage[0].what
    assert Path(found.damage[0].path).exists()
    store.write([Removed(1), Added(chunk(4))])
    store.close()


def test_a_missing_row_is_noticed(folder: Path) -> None:
    """A row that is gone, of a file that is in order, is lost within a range that is reported."""
    edit(folder, "DELETE FROM chunk WHERE id = 2")
    store = opened(folder)
    found = store.recover()
    assert [(one.kind, one.first, one.last) for one in found.damage] == [(DamageKind.LOST, 1, 3)]
    store.close()


def test_a_row_that_came_back_is_noticed(folder: Path) -> None:
    """A file that holds more than it should is not what was written either."""
    edit(folder, "INSERT INTO chunk SELECT 9, origin, count, attempt, done, put_at, expires,"
          " not_before, options, body, crc FROM chunk WHERE id = 2")  # fmt: skip
    store = opened(folder)
    found = store.recover()
    assert [one.id for one in found.chunks] == [1, 2, 3]
    assert found.damage
    store.close()


def test_an_old_copy_is_noticed(folder: Path) -> None:
    """A file that was put back from a copy is behind the mark: what it lacks is reported."""
    old = (folder / FILE).read_bytes()
    store = opened(folder)
    store.write([Added(chunk(4)), Added(chunk(5))])
    store.close()
    (folder / FILE).write_bytes(old)
    store = opened(folder)
    damage = store.recover().damage
    assert [(one.kind, one.first, one.last) for one in damage] == [(DamageKind.LOST, 4, 5)]
    store.close()


def test_a_file_that_is_gone_is_noticed(folder: Path) -> None:
    """Without its file a queue begins anew, says so, and gives no id twice."""
    (folder / FILE).unlink()
    store = opened(folder)
    found = store.recover()
    assert held(found) == ([], [], {}, {}, 3, 0)
    assert {(one.kind, one.first, one.last) for one in found.damage} == {(DamageKind.LOST, 1, 3)}
    store.close()


def test_a_file_that_is_none_is_set_aside(folder: Path) -> None:
    """What is no database is moved away, as it is, and its loss reported."""
    (folder / FILE).write_bytes(b"no database" * 1000)
    store = opened(folder)
    found = store.recover()
    assert {one.kind for one in found.damage} == {DamageKind.FILE, DamageKind.LOST}
    assert Path(found.damage[0].path).read_bytes().startswith(b"no database")
    store.close()


def test_a_schema_that_is_no_text_is_set_aside(folder: Path) -> None:
    """SQLite quotes what it cannot parse, and nobody can decode that: it is damage as any other."""
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data.replace(b"WITHOUT ROWID", b"WITHOUT\xa0ROWID"))
    store = opened(folder)
    found = store.recover()
    assert {one.kind for one in found.damage} == {DamageKind.FILE, DamageKind.LOST}
    store.close()


def test_a_text_that_is_none_spoils_its_row_only(folder: Path) -> None:
    """A dead letter with an error that cannot be decoded keeps its message, and its place."""
    store = opened(folder)
    letters = [DeadLetter(number, b"one", b"", "crashed", 1, "é") for number in (1, 2, 3, 4)]
    store.write([Buried(letter) for letter in letters])
    store.close()
    edit(folder, "UPDATE letter SET error = CAST(x'e9' AS TEXT) WHERE id = 2")
    for _ in range(2):  # the file is written anew, and tells the same
        store = opened(folder)
        found = store.recover()
        assert [(one.id, one.reason, one.message) for one in found.letters] == [
            (1, "crashed", b"one"),
            (2, "corrupt", b"one"),
            (3, "crashed", b"one"),
            (4, "crashed", b"one"),
        ]
        assert [one.kind for one in found.damage] == [DamageKind.ROW]
        store.close()


@pytest.mark.parametrize("byte", [16, 18, 19, 21, 47, 52])
def test_a_header_that_says_nonsense_is_damage(folder: Path, byte: int) -> None:
    """A file that its header calls read-only, or of another format, is set aside as any other."""
    data = bytearray((folder / FILE).read_bytes())
    data[byte] ^= 0x40
    (folder / FILE).write_bytes(data)
    store = opened(folder)
    found = store.recover()
    assert found.damage or len(found.chunks) == 3
    store.write([Added(chunk(4))])
    store.close()


def test_a_damaged_mark_is_noticed(folder: Path) -> None:
    """A mark that cannot be read is reported; the queue is kept."""
    (folder / "mark").write_bytes(b"\1" * 8192)
    store = opened(folder)
    found = store.recover()
    assert len(found.chunks) == 3
    assert [one.kind for one in found.damage] == [DamageKind.MARK]
    store.close()


def test_a_report_lasts_as_long_as_its_evidence(folder: Path) -> None:
    """Damage is told at each start until the file that was set aside is removed."""
    edit(folder, "DELETE FROM chunk WHERE id = 2")
    paths = []
    for _ in range(3):
        store = opened(folder)
        paths += [one.path for one in store.recover().damage]
        store.close()
    assert len(paths) == 3
    os.unlink(paths[0])
    store = opened(folder)
    assert not store.recover().damage
    store.close()


def test_few_damaged_files_are_kept(folder: Path) -> None:
    """However often a file is damaged, the disk does not fill with evidence."""
    for number in range(1, 9):
        (folder / f"queue-{number:04d}.db").write_bytes(b"x" * 5000)
        opened(folder).close()
    assert len(list((folder / "damaged").glob("queue-*.db"))) == 5


def test_a_machine_that_went_down_is_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without fsync, a boot since the queue was last open is reported; an orderly end is none."""
    opened(folder, "process").close()
    store = opened(folder, "process")
    note = (folder / "open").read_bytes()
    store.close()
    (folder / "open").write_bytes(note)
    (tmp_path / "boot_id").write_bytes(b"another")
    monkeypatch.setattr(boot, "BOOT_ID", str(tmp_path / "boot_id"))
    store = opened(folder, "process")
    assert [one.kind for one in store.recover().damage] == [DamageKind.LOST]
    store.close()
    (folder / "open").unlink(missing_ok=True)


def another_boot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the machine go down while a queue without fsync is open."""
    store = opened(folder, "process")
    note = (folder / "open").read_bytes()
    store.close()
    (folder / "open").write_bytes(note)
    (folder.parent / "boot_id").write_bytes(b"another")
    monkeypatch.setattr(boot, "BOOT_ID", str(folder.parent / "boot_id"))


def test_that_it_went_down_is_told_until_it_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is killed, or has no luck, before it has noted the loss, hides nothing."""
    another_boot(folder, monkeypatch)
    with monkeypatch.context() as broken:
        broken.setattr(Mark, "write", raise_eio)
        with pytest.raises(StoreFailed):
            opened(folder, "process")
    store = opened(folder, "process")
    assert DamageKind.LOST in [one.kind for one in store.recover().damage]
    store.close()


def test_what_is_set_aside_is_there_after_a_loss_of_power(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both folders are synced: the one that it comes to first."""
    edit(folder, "UPDATE chunk SET body = x'00' WHERE id = 2")
    synced: list[str] = []
    sync = schema.sync_path

    def noted(path: str) -> None:
        synced.append(os.path.relpath(path, folder))
        sync(path)

    monkeypatch.setattr(schema, "sync_path", noted)
    opened(folder).close()
    assert synced.index("damaged") < len(synced) - 1 - synced[::-1].index(".")


def raise_eio(*_: object) -> None:
    """Fail as a device does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))
