"""Any changes, ended at any point: what was written is what is there."""

import shutil

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.store_cases import Writer, chunk, held, letter
from tests.crash.disk import scratch
from workers.queues.core.journal import Added
from workers.queues.store.batch import Batch
from workers.queues.store.contract import MemoryStore
from workers.queues.store.sqlite.ledger import Ledger
from workers.queues.store.sqlite.store import SqliteStore

SEEDS = st.integers(0, 2**32)
STEPS = st.lists(st.sampled_from(["write", "write", "write", "tend", "crash", "end"]), max_size=25)


@settings(max_examples=50)
@given(seed=SEEDS, durability=st.sampled_from(["full", "process"]), steps=STEPS)
def test_what_was_written_is_there(seed: int, durability: str, steps: list[str]) -> None:
    """Writes, care, crashes and orderly ends in any order: the store holds what its model does."""
    model, writer = MemoryStore(), Writer(seed)
    with scratch() as where:
        lives = 0

        def folder() -> str:
            return str(where / str(lives))

        store = SqliteStore(folder(), durability, 4096)
        for step in [*steps, "crash"]:
            if step == "write":
                group = writer.group(12)
                store.write(group)
                model.write(group)
            elif step == "tend":
                store.tend()
            else:
                before = folder()
                lives += 1
                if step == "end":
                    store.close()
                shutil.copytree(before, folder())  # as it is at this moment: killed
                store.close()
                store = SqliteStore(folder(), durability, 4096)
                found = store.recover()
                assert held(found) == held(model.recover())
                assert not found.damage
        store.close()


@given(seed=SEEDS, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_a_group_comes_to_what_its_changes_come_to(seed: int, sizes: list[int]) -> None:
    """Whether changes are written one by one or in groups of any size makes no difference."""
    one_by_one, grouped, writer = MemoryStore(), MemoryStore(), Writer(seed)
    for size in sizes:
        group = writer.group(size)
        grouped.write(group)
        for change in group:
            one_by_one.write([change])
    assert held(grouped.recover()) == held(one_by_one.recover())


@given(
    ledger=st.builds(Ledger, *[st.integers(0, 2**64 - 1)] * 7),
    bit=st.integers(0, 60 * 8 - 1),
)
def test_a_ledger_is_read_as_it_was_packed_or_not_at_all(ledger: Ledger, bit: int) -> None:
    """A ledger with any bit changed is none."""
    packed = bytearray(ledger.pack())
    assert Ledger.unpack(bytes(packed)) == ledger
    packed[bit // 8] ^= 1 << bit % 8
    assert Ledger.unpack(bytes(packed)) is None


@given(
    there=st.sets(st.integers(1, 2**40), max_size=30),
    letters=st.sets(st.integers(1, 2**40), max_size=10),
    other=st.integers(1, 2**40),
)
def test_a_ledger_fits_only_its_own_ids(there: set[int], letters: set[int], other: int) -> None:
    """One id more or less, or in place of another, is noticed."""
    ledger = Ledger().after(
        Batch(
            added=[Added(chunk(number)) for number in there],
            buried=[letter(number) for number in letters],
        )
    )
    assert ledger.fits(list(there), list(letters))
    assert not ledger.fits(list(there ^ {other}), list(letters))
    assert not ledger.fits(list(there), list(letters ^ {other}))
    if there:
        assert not ledger.fits(list((there - {min(there)}) | {max(there) + 1}), list(letters))
