"""Who may open a durable queue, and what it does while it is open: without room, or a device."""

import os
import resource
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.store_cases import FAR, chunk, held, letter
from tests.queue_folder import FILE, contents, edit, kept, opened
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
from workers.queues.store.sqlite.schema import VERSION
from workers.queues.store.sqlite.store import SqliteStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a queue that holds three messages."""
    return kept(tmp_path)


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
    edit(folder, "UPDATE dedupe SET until = until + 1 WHERE key = 'known 3'")
    store = opened(folder)
    recovered = store.recover()
    assert list(recovered.keys) == ["known 2", "known 4"]
    assert [one.kind for one in recovered.damage] == [DamageKind.ROW]
    store.close()


def _leads_to(fd: int, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == str(path)
    except OSError:
        return False
