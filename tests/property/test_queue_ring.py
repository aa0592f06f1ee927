"""The ring of large bodies: what goes in comes out, whatever is written and taken when."""

import os
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.queues.ring import MOST, PLACE, ROOM, SIZE, RingReader, RingWriter, make


def ends() -> tuple[RingWriter, RingReader]:
    """Make a ring; return its two ends."""
    fd = make()
    writer, reader = RingWriter(fd), RingReader(fd)
    os.close(fd)
    return writer, reader


steps = st.lists(st.one_of(st.none(), st.integers(1, MOST)), max_size=60)


@given(steps)
def test_bodies_come_out_as_they_went_in(sizes: list[int | None]) -> None:
    """Nothing that was not taken is written over; there is room whenever half of it is free."""
    writer, reader = ends()
    inside: deque[tuple[bytes, bytes]] = deque()
    for number, size in enumerate(sizes):
        if size is None:
            if inside:
                place, body = inside.popleft()
                assert bytes(reader.at(place)) == body
                assert reader.taken(place) == len(body)
            continue
        body = bytes([number % 251]) * size
        found = writer.write((body[:3], body[3:]))
        if found is None:
            assert sum(len(one) for _, one in inside) > ROOM - 2 * MOST
        else:
            inside.append((found, body))
    for place, body in inside:
        assert bytes(reader.at(place)) == body


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_a_reader_that_says_nonsense_stops_the_writer_at_worst(start: int, size: int) -> None:
    """Its word is not believed: a body goes in where it fits, or by the socket."""
    writer, reader = ends()
    reader.taken(PLACE.pack(start, size))
    place = writer.write((b"x" * 100,))
    assert place is None or bytes(reader.at(place)) == b"x" * 100


@given(st.binary(max_size=20))
def test_no_place_reaches_beyond_the_ring(said: bytes) -> None:
    """A place is within the bodies, or it is none."""
    _, reader = ends()
    try:
        assert len(reader.at(said)) <= ROOM
    except ValueError:
        assert len(said) != PLACE.size or sum(PLACE.unpack(said)) > 0


def test_a_body_that_leaves_no_room_for_others_goes_by_the_socket() -> None:
    """The ring takes a quarter of itself at once."""
    writer, _ = ends()
    assert writer.write((b"x" * MOST,)) is not None
    assert writer.write((b"x" * MOST, b"x")) is None


@pytest.mark.parametrize("flags", [os.MFD_CLOEXEC, os.MFD_ALLOW_SEALING], ids=["plain", "unsealed"])
def test_memory_that_could_be_truncated_is_no_ring(flags: int) -> None:
    """Who maps it would be killed by reading what is gone."""
    fd = os.memfd_create("test", flags)
    os.ftruncate(fd, SIZE)
    with pytest.raises(ValueError, match="sealed"):
        RingReader(fd)
    os.close(fd)
    read, write = os.pipe()
    with pytest.raises(ValueError, match="no ring"):
        RingWriter(read)
    os.close(read)
    os.close(write)
