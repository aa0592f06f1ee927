"""What every store does, each in the same way: memory, SQLite with fsync, SQLite without."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from tests.conformance.store_cases import FAR, Writer, chunk, held, letter, write_all
from workers.queues.core.journal import (
    Added,
    Advanced,
    Buried,
    Change,
    Discarded,
    Remembered,
    Removed,
    Sequenced,
)
from workers.queues.frames import Options
from workers.queues.store.contract import MemoryStore, State, Store, StoreFailed
from workers.queues.store.sqlite.store import SqliteStore


class Kept:
    """A store that can be opened again."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind, self._folder = kind, str(folder / "q")
        self.store: Store = MemoryStore()
        self.again()

    def again(self) -> Store:
        """Close it and open it."""
        if self._kind != "memory":
            self.store.close()
            self.store = SqliteStore(self._folder, self._kind, 4096)
        return self.store


@pytest.fixture(params=["memory", "full", "process"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    """Give one store of each kind."""
    one = Kept(request.param, tmp_path)
    yield one
    one.store.close()


def test_a_new_store_is_empty(kept: Kept) -> None:
    """A store that was never written holds nothing, and nothing is wrong with it."""
    recovered = kept.store.recover()
    assert held(recovered) == ([], [], {}, {}, 0, 0)
    assert not recovered.damage
    assert kept.store.state is State.OPEN


def test_what_was_added_is_there(kept: Kept) -> None:
    """Every field of a chunk that is stored is there again."""
    options = Options(priority=3, key="k", headers={"a": "b"})
    one = chunk(
        1, 3, attempt=2, done=1, put_at=1.5, expires=2.5, not_before=3.5, origin=9
    )  # fmt: skip
    one.options = msgspec.msgpack.encode(options)
    one.extra = options
    kept.store.write([Added(structs.replace(one, caller=4, holder=5))])
    assert kept.again().recover().chunks == [one]


def test_chunks_are_in_their_order(kept: Kept) -> None:
    """A chunk that came back stands where its messages were put, not behind all others."""
    kept.store.write([Added(chunk(1)), Added(chunk(2)), Added(chunk(3))])
    kept.store.write([Removed(1), Added(chunk(4, origin=1)), Added(chunk(5, origin=1))])
    assert [one.id for one in kept.again().recover().chunks] == [4, 5, 2, 3]


def test_progress_is_kept(kept: Kept) -> None:
    """What is done of a chunk is done after a restart; all done: it is gone."""
    kept.store.write([Added(chunk(1, 5)), Added(chunk(2, 5))])
    kept.store.write([Advanced(1, 2)])
    kept.store.write([Advanced(1, 3), Advanced(2, 5)])
    assert [(one.id, one.done) for one in kept.again().recover().chunks] == [(1, 3)]


def test_progress_goes_with_its_chunk(kept: Kept) -> None:
    """A chunk that was removed leaves nothing behind that says how far it was."""
    kept.store.write([Added(chunk(1, 5))])
    kept.store.write([Advanced(1, 2)])
    kept.store.write([Advanced(1, 5)])
    recovered = kept.again().recover()
    assert not recovered.chunks
    assert not recovered.damage


def test_late_progress_is_no_step_back(kept: Kept) -> None:
    """Of two words on how far a chunk is, the further one counts."""
    kept.store.write([Added(chunk(1, 5)), Advanced(1, 3), Advanced(1, 2)])
    assert [one.done for one in kept.again().recover().chunks] == [3]


def test_a_chunk_may_come_and_go_within_a_group(kept: Kept) -> None:
    """What was settled before it was written leaves only its number."""
    kept.store.write([Added(chunk(1, 2)), Sequenced("c", 7), Advanced(1, 2)])
    recovered = kept.again().recover()
    assert held(recovered) == ([], [], {"c": Sequenced("c", 7)}, {}, 1, 0)


def test_dead_letters_are_kept_until_discarded(kept: Kept) -> None:
    """A dead letter is there with all its fields until it is discarded."""
    one = letter(1, error="ValueError: é", traceback="a\nb", first_put=1.5, died=2.5, whole=False)
    kept.store.write([Buried(one), Buried(letter(2)), Buried(letter(3)), Discarded(3)])
    kept.store.write([Discarded(2)])
    recovered = kept.again().recover()
    assert recovered.letters == [one]
    assert recovered.last_letter == 3


def test_ids_are_never_given_twice(kept: Kept) -> None:
    """The highest id there ever was is known when nothing is left."""
    kept.store.write([Added(chunk(41)), Buried(letter(5))])
    kept.store.write([Removed(41), Discarded(5)])
    recovered = kept.again().recover()
    assert (recovered.last_chunk, recovered.last_letter) == (41, 5)


def test_the_last_put_of_each_client_is_kept(kept: Kept) -> None:
    """Of a client, its last put and the gaps before it are known, up to 64 bits."""
    kept.store.write([Sequenced("a", 1), Sequenced("b", 2)])
    kept.store.write([Sequenced("a", 2**64 - 1, (3, 5))])
    expected = {"a": Sequenced("a", 2**64 - 1, (3, 5)), "b": Sequenced("b", 2)}
    assert kept.again().recover().sequences == expected


def test_keys_are_remembered_until_they_end(kept: Kept) -> None:
    """Keys for dedupe are there after a restart, the latest word on each, by their ends."""
    kept.store.write([Remembered("b", FAR, 1), Remembered("a", FAR + 1, 2)])
    kept.store.write([Remembered("b", FAR + 2, 3), Remembered("c", FAR + 0.5, 4)])
    recovered = kept.again().recover()
    assert list(recovered.keys.items()) == [("c", FAR + 0.5), ("a", FAR + 1), ("b", FAR + 2)]


@pytest.mark.parametrize(
    "wrong",
    [Removed(2), Advanced(2, 1), Discarded(2), Added(chunk(1)), Buried(letter(1))],
    ids=lambda change: type(change).__name__,
)
def test_a_group_with_a_wrong_change_is_not_kept(kept: Kept, wrong: Change) -> None:
    """A change of what is not there, or that is there already, refuses its whole group."""
    kept.store.write([Added(chunk(1)), Buried(letter(1))])
    before = held(kept.again().recover())
    with pytest.raises(ValueError, match="there"):
        kept.store.write([Added(chunk(7)), wrong])
    assert held(kept.again().recover()) == before


def test_a_number_that_cannot_be_kept_refuses_its_group(tmp_path: Path) -> None:
    """A number beyond 63 bits, where no put can lead, is an error of the caller."""
    store = SqliteStore(str(tmp_path / "q"), "process", 4096)
    with pytest.raises(ValueError, match="large"):
        store.write([Added(chunk(1)), Added(chunk(2, attempt=2**63))])
    store.write([Added(chunk(1))])
    store.close()


def test_a_closed_store_takes_nothing(kept: Kept) -> None:
    """Nothing is written after the end."""
    kept.store.close()
    with pytest.raises(StoreFailed):
        kept.store.write([Added(chunk(1))])


def test_random_changes_come_to_the_same_in_every_store(tmp_path: Path) -> None:
    """After any changes, with restarts between them, all stores hold the same."""
    model = MemoryStore()
    (tmp_path / "p").mkdir()
    kinds = [Kept("full", tmp_path), Kept("process", tmp_path / "p")]
    writer = Writer(seed=11)
    for _ in range(25):
        groups = [writer.group() for _ in range(4)]
        write_all([model, *(one.store for one in kinds)], groups)
        for one in kinds:
            one.store.tend()
            recovered = one.again().recover()
            assert held(recovered) == held(model.recover())
            assert not recovered.damage
    for one in kinds:
        one.store.close()
