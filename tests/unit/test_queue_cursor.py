"""The cursor: what its reader makes of every store that its writer may die after."""

import os
from collections.abc import Iterator

import pytest

from workers.queues.core.leases import Cursor
from workers.queues.cursor import CursorReader, CursorWriter
from workers.queues.frames import MAX_COUNT


@pytest.fixture
def writer() -> Iterator[CursorWriter]:
    """A cursor."""
    cursor = CursorWriter()
    yield cursor
    cursor.close()


def reader_of(writer: CursorWriter, lanes: int = 1) -> CursorReader:
    """Open the other end."""
    return CursorReader(os.dup(writer.fd), lanes)


def test_a_batch_is_a_range_over_chunks(writer: CursorWriter) -> None:
    """It ends where it was said to, however large the numbers are."""
    reader = reader_of(writer)
    writer.busy_to(1 << 45, MAX_COUNT - 1, (1 << 46) - 1, MAX_COUNT)
    assert reader.cells() == (Cursor(1 << 45, MAX_COUNT - 1, True, (1 << 46) - 1, MAX_COUNT),)
    writer.idle(7, MAX_COUNT)
    assert reader.cells() == (Cursor(7, MAX_COUNT, False),)
    reader.close()


def test_who_dies_between_the_two_stores_of_a_batch_has_begun_nothing(
    writer: CursorWriter,
) -> None:
    """The first store says nothing by itself, after a batch that is done as before the first."""
    reader = reader_of(writer)
    for before in (0, 5):
        if before:
            writer.busy_to(4, 0, before, 3)
        writer.idle(before, before)
        earlier = writer.cells[0]
        writer.busy_to(8, 0, 9, 2)
        writer.cells[0] = earlier  # as if the second store had not been made
        assert reader.cells() == (Cursor(before, before, False),)
    reader.close()


def test_one_message_after_a_batch_is_one_message(writer: CursorWriter) -> None:
    """What is left of the batch in the second cell means nothing."""
    reader = reader_of(writer)
    writer.busy_to(4, 0, 5, 3)
    writer.busy(5, 3)
    assert reader.cells() == (Cursor(5, 3, True),)
    reader.close()


def test_lanes_have_a_cell_each(writer: CursorWriter) -> None:
    """The cell that ends a batch is a lane's when there are several."""
    reader = reader_of(writer, 3)
    writer.busy(4, 0, 0)
    writer.busy(5, 0, 1)
    writer.idle(6, 1, 2)
    assert reader.cells() == (Cursor(4, 0, True), Cursor(5, 0, True), Cursor(6, 1, False))
    reader.close()
