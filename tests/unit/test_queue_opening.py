"""A durable queue that cannot be opened now: the next try, of the same process, finds it free."""

import errno
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.queue_folder import FILE, contents, edit, first_version, kept, opened
from workers.queues.store.contract import Recovered, StoreFailed
from workers.queues.store.sqlite import opening, schema
from workers.queues.store.sqlite.store import SqliteStore

#: What may fail when a damaged file is replaced.
STEPS = [
    (schema, "create_file"),
    (schema, "name_file"),
    (opening, "set_aside"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the folder of a queue that holds three messages, in a process like a broker's."""
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.0)
    gc.disable()
    yield kept(tmp_path)
    gc.enable()


def fail(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, code: int) -> None:
    """Let a step fail with an error of the device."""

    def failing(*arguments: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(where, name, failing)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize(("where", "name"), STEPS, ids=[name for _, name in STEPS])
def test_a_damaged_file_is_free_after_a_failed_salvage(
    folder: Path, where: Any, name: str, code: int
) -> None:
    """Neither it nor what was begun of its successor stays open, or locked."""
    edit(folder, "UPDATE chunk SET count = 9 WHERE id = 2")
    with pytest.MonkeyPatch.context() as patch:
        fail(patch, where, name, code)
        with pytest.raises(StoreFailed) as failed:  # kept: what it refers to is, too
            opened(folder)
    store = opened(folder)
    assert [one.id for one in store.recover().chunks] == [1, 3]
    store.close()
    assert failed.value
    assert schema.NEW not in contents(folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_file_of_version_1_is_free_after_a_failed_upgrade(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It goes on when the device does."""
    first_version(folder)
    with monkeypatch.context() as patch:
        fail(patch, schema, "upgrade", code)
        with pytest.raises(StoreFailed) as failed:
            opened(folder)
    store = opened(folder)
    assert [one.id for one in store.recover().chunks] == [1, 2, 3]
    store.close()
    assert failed.value


def test_what_fails_to_be_written_anew_leaves_no_half(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file whose predecessor cannot be removed is closed."""
    with monkeypatch.context() as patch:
        fail(patch, schema, "name_file", errno.EIO)
        with pytest.raises(StoreFailed):
            SqliteStore(str(folder), "full", 4096, anew=Recovered())
    with monkeypatch.context() as patch:
        remove = schema.remove_file

        def failing(path: str) -> None:
            if path.endswith(FILE):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            remove(path)

        patch.setattr(schema, "remove_file", failing)
        with pytest.raises(StoreFailed) as failed:
            SqliteStore(str(folder), "full", 4096, anew=Recovered())
    store = opened(folder)
    assert store.recover().chunks == []
    store.close()
    assert failed.value
