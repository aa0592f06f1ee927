"""Marks in a log pipe, as they are read."""

from supervisor.logs.marks import MAX_MARK, find_mark, mark, without_beginning


def test_a_mark_is_found_where_it_is() -> None:
    """Behind a record, raw text or nothing; it says who writes."""
    for before in (b"", b"\x1e{}\n", b"text", b"\x1f\x1e"):
        found = find_mark(before + mark(4711, 12) + b"\x1e\x1fno\n" + mark(1, 1))
        assert found is not None
        start = len(before)
        assert found == (start, start + len(mark(4711, 12)), 4711, 12)
    assert find_mark(b"\x1e{}\n\x1f\x1e\x1f12\n") is None


def test_the_beginning_of_a_mark_is_left_for_the_next_look() -> None:
    """Wherever the bytes were cut off; of nothing else is anything left out."""
    whole = mark(10**10 - 1, 10**18 - 1)
    assert len(whole) <= MAX_MARK
    for end in range(len(whole)):
        assert without_beginning(b"text" + whole[:end]) == b"text"
    for other in (b"text\n", b"\x1e{}", b"\x1f1 2"):
        assert without_beginning(other) == other
