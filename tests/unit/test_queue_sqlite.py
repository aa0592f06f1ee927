"""What a durable queue does when its files are not as it left them, or the device has no room."""

import os
import resource
import sqlite3
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.store_cases import FAR, chunk, held, letter
from workers.queues.core.journal import Added, Advanced, Buried, Remembered, Removed, Sequenced
from workers.queues.store.contract import (
    DamageKind,
    Recovered,
    State,
    StoreFailed,
    StoreFull,
    StoreLocked,
    StoreTooNew,
)
from workers.queues.store.sqlite import boot
from workers.queues.store.sqlite.schema import VERSION
from workers.queues.store.sqlite.store import SqliteStore

FILE = "queue-0001.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a queue, made by a store that was closed in order."""
    store = SqliteStore(str(tmp_path / "q"), "full", 4096)
    store.write([Added(chunk(1)), Added(chunk(2)), Added(chunk(3)), Sequenced("c", 3)])
    store.close()
    return tmp_path / "q"


def opened(folder: Path, durability: str = "full") -> SqliteStore:
    """Open it."""
    return SqliteStore(str(folder), durability, 4096)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files there are."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


# --- who may open it ------------------------------------------------------------------------------


def test_a_second_broker_is_refused(folder: Path) -> None:
    """One process keeps a queue; the next one gets it when that has closed it."""
    first = opened(folder)
    with pytest.raises(StoreLocked, match="another process"):
        opened(folder)
    first.write([Added(chunk(4))])
    first.close()
    opened(folder).close()


def test_the_lock_goes_with_its_process_alone(folder: Path) -> None:
    """The lock's descriptor is closed by exec: no program that is started can hold it."""
    store = opened(folder)
    locks = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _leads_to(fd, folder / "lock")]
    assert locks
    assert not any(os.get_inheritable(fd) for fd in locks)
    store.close()


def test_a_newer_format_is_refused_untouched(folder: Path) -> None:
    """A file of a later version is not opened, and nothing at all is written."""
    path = folder / FILE
    data = bytearray(path.read_bytes())
    data[60:64] = struct.pack(">I", VERSION + 1)
    path.write_bytes(data)
    before = contents(folder)
    with pytest.raises(StoreTooNew, match=f"format {VERSION + 1}"):
        opened(folder)
    assert contents(folder) == before


def test_only_the_owner_may_read_it(folder: Path) -> None:
    """Messages are nobody else's business."""
    assert folder.stat().st_mode & 0o077 == 0


def test_nothing_outside_is_needed_to_close(folder: Path) -> None:
    """After an orderly end there is one file, and no log to be lost."""
    assert {name for name in contents(folder) if name.startswith("queue")} == {FILE}


# --- what is not as it was ------------------------------------------------------------------------


def test_a_spoilt_row_is_a_dead_letter(folder: Path) -> None:
    """A chunk whose row is not what was written becomes a dead letter, and is named."""
    _edit(folder, "UPDATE chunk SET body = x'00' WHERE id = 2")
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
    _edit(folder, "DELETE FROM chunk WHERE id = 2")
    store = opened(folder)
    found = store.recover()
    assert [(one.kind, one.first, one.last) for one in found.damage] == [(DamageKind.LOST, 1, 3)]
    store.close()


def test_a_row_that_came_back_is_noticed(folder: Path) -> None:
    """A file that holds more than it should is not what was written either."""
    _edit(folder, "INSERT INTO chunk SELECT 9, origin, count, attempt, done, put_at, expires,"
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
    _edit(folder, "DELETE FROM chunk WHERE id = 2")
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


# --- while it is open -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffixes", [("",), ("-wal",), ("", "-wal")], ids=str)
def test_files_removed_while_open_are_written_anew(folder: Path, suffixes: tuple[str]) -> None:
    """Whoever deletes the open files loses nothing: the next write notices, and says so."""
    store = opened(folder)
    store.recover()
    store.write([Added(chunk(4))])
    for suffix in suffixes:
        os.unlink(f"{folder / FILE}{suffix}")
    store.write([Added(chunk(5))])
    assert [one.kind for one in store.damage] == [DamageKind.REPLACED]
    store.write([Added(chunk(6)), Removed(1)])
    store.close()
    store = opened(folder)
    assert [one.id for one in store.recover().chunks] == [2, 3, 4, 5, 6]
    store.close()


def test_a_folder_removed_while_open_is_a_failure(folder: Path) -> None:
    """Where not even a new file can be made, the write is refused, loudly."""
    store = opened(folder)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(StoreFailed, match="removed"):
        store.write([Added(chunk(4))])
    assert store.state is State.FAILED
    with pytest.raises(StoreFailed):
        store.write([Added(chunk(4))])
    store.close()


def test_no_space_refuses_puts_and_takes_acks(folder: Path) -> None:
    """A full device: puts are refused, what makes the queue smaller is kept; it recovers alone."""
    store = opened(folder)
    connection = store._file._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFull):
        store.write([Added(chunk(4, body_size=1 << 20))])
    assert store.state is State.FULL
    assert not (folder / "ballast").exists()
    store.write([Advanced(1, 1), Buried(letter(1))])
    connection.execute("PRAGMA max_page_count = 1000000")
    store.tend()
    assert store.state is State.OPEN
    assert (folder / "ballast").exists()
    store.write([Added(chunk(5))])
    store.close()
    store = opened(folder)
    assert [one.id for one in store.recover().chunks] == [2, 3, 5]
    store.close()


def test_a_failing_device_is_not_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failing fsync nothing is written: a later one would say that all is well."""
    store = opened(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(StoreFailed, match="Input/output"):
            store.write([Added(chunk(4))])
    before = contents(folder)
    with pytest.raises(StoreFailed, match="Input/output"):
        store.write([Added(chunk(5))])
    store.tend()
    assert contents(folder) == before
    store.close()


@pytest.mark.parametrize("durability", ["full", "process"])
def test_a_failed_store_is_written_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    """It holds what it is given, in another file, and nothing that the failed one says."""
    store = opened(folder, durability)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fails)
        with pytest.raises(StoreFailed):
            store.write([Added(chunk(4))])
    store.close()
    known = Recovered([chunk(2, 3, done=1), chunk(9)], [letter(4)], {"c": Sequenced("c", 8)})
    given = replace(known, keys={"k": FAR}, last_chunk=12, last_letter=6)
    store = SqliteStore(str(folder), durability, 4096, given)
    assert held(store.recover()) == held(given)
    store.write([Advanced(2, 2), Added(chunk(13))])
    store.close()
    assert [path.name for path in folder.glob("queue-*.db")] == ["queue-0002.db"]
    store = opened(folder, durability)
    recovered = store.recover()
    assert [(one.id, one.done) for one in recovered.chunks] == [(2, 2), (9, 0), (13, 0)]
    assert [one.kind for one in recovered.damage] == [DamageKind.REPLACED]
    store.close()


def test_a_device_that_fails_on_leaves_what_there_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be written anew takes the place of none."""
    before = contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(StoreFailed, match="Input/output"):
            SqliteStore(str(folder), "full", 4096, Recovered([chunk(7)], last_chunk=7))
    assert {name: contents(folder)[name] for name in before} == before
    store = opened(folder)
    assert [one.id for one in store.recover().chunks] == [1, 2, 3]
    store.close()


def test_a_limit_of_file_sizes_is_no_failed_device(folder: Path) -> None:
    """EFBIG, as a used up quota, is a want of space: what makes the queue smaller goes on."""
    store = opened(folder)
    store.write([Added(chunk(4, body_size=1 << 19))])
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, most))
    try:
        with pytest.raises(StoreFull):
            store.write([Added(chunk(5, body_size=1 << 20))])
        assert store.state is State.FULL
        store.tend()
        store.write([Removed(4)])
        store.tend()
        store.write([Added(chunk(6))])
        assert store.state is State.OPEN
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    store.close()
    store = opened(folder)
    recovered = store.recover()
    assert [one.id for one in recovered.chunks] == [1, 2, 3, 6]
    assert not recovered.damage
    store.close()


def fails(*_: object) -> None:
    """Do nothing but fail."""
    raise OSError(5, "Input/output error")


def test_the_log_stays_short(folder: Path) -> None:
    """However much is written, the log is copied into the file before it is long."""
    store = opened(folder, "process")
    for number in range(4, 400):
        store.write([Added(chunk(number, body_size=50_000)), Removed(number - 1)])
    assert (folder / f"{FILE}-wal").stat().st_size < 12 << 20
    assert (folder / FILE).stat().st_size < 12 << 20
    store.close()


def test_space_is_given_back(folder: Path) -> None:
    """When a long queue has become short, its file becomes short too."""
    store = opened(folder, "process")
    for number in range(4, 54):
        store.write([Added(chunk(number, body_size=1 << 20))])
    store.write([Removed(number) for number in range(4, 54)])
    long = (folder / FILE).stat().st_size
    for _ in range(20):
        store.tend()
    assert (folder / FILE).stat().st_size < long / 2
    store.close()


def test_keys_for_dedupe_are_recycled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have ended go, and the oldest when there are too many; the others stay."""
    monkeypatch.setattr("workers.queues.store.sqlite.store.MAX_KEYS", 3)
    store = opened(folder)
    store.write([Remembered(f"ended {n}", float(n), n) for n in range(10)])
    store.write([Remembered(f"known {n}", FAR + n, n) for n in range(5)])
    store.tend()
    store.close()
    store = opened(folder)
    assert list(store.recover().keys) == ["known 2", "known 3", "known 4"]
    assert not store.damage
    store.close()
    _edit(folder, "UPDATE dedupe SET until = until + 1 WHERE key = 'known 3'")
    store = opened(folder)
    recovered = store.recover()
    assert list(recovered.keys) == ["known 2", "known 4"]
    assert [one.kind for one in recovered.damage] == [DamageKind.ROW]
    store.close()


def _edit(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / FILE)
    connection.execute(statement)
    connection.commit()
    connection.close()


def _leads_to(fd: int, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == str(path)
    except OSError:
        return False
