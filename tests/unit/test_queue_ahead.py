"""A queue's next file, written in steps while the queue goes on: what it holds in the end."""

import os
from pathlib import Path

import pytest

from tests.conformance.store_cases import Writer, chunk, held
from tests.queue_folder import contents, kept, opened
from workers.queues.core.journal import Added
from workers.queues.store.contract import (
    DamageKind,
    MemoryStore,
    Recovered,
    StoreFailed,
    StoreLocked,
)
from workers.queues.store.sqlite import ahead as module
from workers.queues.store.sqlite.ahead import SqliteAhead
from workers.queues.store.sqlite.store import SqliteStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a queue that holds three messages."""
    return kept(tmp_path)


def fails(*_: object) -> None:
    """Fail as a device does."""
    raise OSError(5, "Input/output error")


def steps(ahead: SqliteAhead) -> int:
    """Write all that is left; return in how many steps."""
    number = 1
    while ahead.step():
        number += 1
    return number


def test_a_step_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By bytes and by chunks, whichever comes first; there is always one chunk of progress."""
    monkeypatch.setattr(module, "STEP_CHUNKS", 4)
    monkeypatch.setattr(module, "STEP_BYTES", 100)
    small = [chunk(number) for number in range(1, 9)]
    large = [chunk(number) for number in range(9, 12)]
    for one in small:
        one.body = b"s"
    for one in large:
        one.body = b"l" * 100
    ahead = SqliteAhead(str(folder), small + large)
    assert steps(ahead) == 2 + 3
    ahead.give_up()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("written", [0, 1, 1000])
def test_what_has_changed_since_is_what_it_holds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int, written: int
) -> None:
    """Whatever was written ahead: what came, went and moved on is as it is in the end."""
    monkeypatch.setattr(module, "STEP_CHUNKS", 3)
    model, writer = MemoryStore(), Writer(seed)
    for _ in range(30):
        model.write(writer.group())
    ahead = SqliteAhead(str(folder), model.recover().chunks)
    for _ in range(written):
        if not ahead.step():
            break
    for _ in range(seed * 4):
        model.write(writer.group())
    given = model.recover()
    store = SqliteStore(str(folder), "full", 4096, given, ahead)
    assert held(store.recover()) == held(given)
    for _ in range(3):
        group = writer.group()
        store.write(group)
        model.write(group)
    store.close()
    store = opened(folder)
    found = store.recover()
    assert held(found) == held(model.recover())
    assert [one.kind for one in found.damage] == [DamageKind.REPLACED]
    store.close()
    assert [path.name for path in folder.glob("*.db*")] == ["queue-0002.db"]


def test_a_chunk_that_was_settled_meanwhile_is_not_in_it(folder: Path) -> None:
    """Chunks are those of the queue, which goes on with them between two steps."""
    one, two = chunk(1, 3), chunk(2, 3)
    ahead = SqliteAhead(str(folder), [one, two])
    one.done, two.done = 3, 1
    assert not ahead.step()
    two.done = 2
    store = SqliteStore(str(folder), "full", 4096, Recovered([two], last_chunk=2), ahead)
    store.close()
    store = opened(folder)
    assert [(each.id, each.done) for each in store.recover().chunks] == [(2, 2)]
    store.close()


def test_a_head_start_that_is_given_up_leaves_what_there_was(folder: Path) -> None:
    """The file that it would have replaced is there, and opens as ever."""
    ahead = SqliteAhead(str(folder), [chunk(7)])
    ahead.step()
    with pytest.raises(StoreLocked):
        opened(folder)
    ahead.give_up()
    store = opened(folder)
    found = store.recover()
    assert [one.id for one in found.chunks] == [1, 2, 3]
    assert not found.damage
    store.write([Added(chunk(4))])
    store.close()


def test_a_device_that_fails_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it begins, in a step, and in the end: the old file stays, and the lock is let go."""
    before = contents(folder)
    ahead = SqliteAhead(str(folder), [chunk(7), chunk(8)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(StoreFailed, match="Input/output"):
            ahead.step()
        with pytest.raises(StoreFailed, match="Input/output"):
            SqliteStore(str(folder), "full", 4096, Recovered([chunk(7)], last_chunk=8), ahead)
    ahead.give_up()
    assert {name: contents(folder)[name] for name in before} == before
    opened(folder).close()
