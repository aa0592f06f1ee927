"""What a killed pump was doing is known to its successor, whatever step the kill came after."""

import os

import pytest

from supervisor.logs.ledger import MAX_COUNTS, Ledger, Note, descriptors
from supervisor.logs.peek import Peeker


@pytest.fixture
def kept(fds: list[int]) -> dict[str, int]:
    """What outlives a pump."""
    made = descriptors()
    fds += made.values()
    return made


def recovered(kept: dict[str, int]) -> tuple[Note, dict[str, int], bool]:
    """Return what a successor finds: the note, the lines lost, whether the block was written."""
    ledger = Ledger(kept)
    note, _, written = ledger.recover(Peeker())
    return note, ledger.lost, written


def test_counts_of_lost_lines_are_remembered_and_forgotten(kept: dict[str, int]) -> None:
    """With the note of each block, also when that is written."""
    ledger = Ledger(kept)
    ledger.lost["shop/a.0"] = 7
    ledger.note(Note("shop/b.0", "stdout"))
    assert recovered(kept) == (Note("shop/b.0", "stdout"), {"shop/a.0": 7}, False)
    ledger.lost["shop/b.0"] = 1
    ledger.written()
    both = {"shop/a.0": 7, "shop/b.0": 1}
    assert recovered(kept) == (Note("shop/b.0", "stdout"), both, True)
    ledger.lost.clear()
    ledger.note_lost()
    assert recovered(kept) == (Note(), {}, False)


@pytest.mark.parametrize("slots", [2_000, 40_000])
def test_lost_lines_of_very_many_slots_do_not_hide_what_is_being_done(
    kept: dict[str, int], slots: int
) -> None:
    """The block's place is right, however much there is to remember besides."""
    ledger = Ledger(kept)
    ledger.note(Note("shop/a.0", "stdout", inode=1, offset=100))
    ledger.written()
    ledger.lost.update((f"shop/some-child-{number:032}.0", number) for number in range(slots))
    ledger.note(Note("shop/b.0", "stdout", inode=2, offset=200))
    note, lost, written = recovered(kept)
    assert (note.inode, note.offset, written) == (2, 200, False)
    assert lost == (ledger.lost if slots * 50 < MAX_COUNTS else {})


def test_a_kill_in_the_middle_of_a_large_write_changes_nothing(
    kept: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a page of memory is written whole or not at all."""
    ledger = Ledger(kept)
    ledger.lost.update((f"shop/child-{number}.0", 1) for number in range(1000))
    ledger.note(Note("shop/a.0", "stdout", inode=1))
    before = recovered(kept)
    pwrite = os.pwrite

    def cut(fd: int, data: bytes, offset: int) -> int:
        if len(data) <= 4096:
            return pwrite(fd, data, offset)
        pwrite(fd, data[:4096], offset)
        raise KeyboardInterrupt  # stands for the kill

    monkeypatch.setattr(os, "pwrite", cut)
    ledger.lost.update((f"shop/a-longer-name-{number}.0", 2) for number in range(1000))
    with pytest.raises(KeyboardInterrupt):
        ledger.written()
    assert recovered(kept) == before
