"""From bytes to lines: what is a record, what is raw, and where a line is cut."""

import msgspec
import pytest

from supervisor.logs.lines import MAX_LINE, Line, Splitter
from supervisor.logs.record import MAX_RECORD


def split(data: bytes, *, records: bool = True, final: bool = False) -> list[Line]:
    """Split bytes that come in one read."""
    return Splitter(records).split(data, final=final)[0]


def test_a_line_is_raw_unless_it_begins_with_the_separator() -> None:
    """JSON that was merely printed is text: only the separator makes a record."""
    lines = split(b'{"event":"x"}\n\x1e{"event":"x"}\n')
    assert lines == [Line('{"event":"x"}'), Line(fields={"event": "x"})]


def test_there_are_no_records_on_stdout() -> None:
    """A separator on standard output is just a control character."""
    assert split(b'\x1e{"a":1}\n', records=False) == [Line('\x1e{"a":1}')]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"1", b"null", b'{"a":NaN}', b'{"a":1}x', b'{"\xff":1}', b'{"a":"\x01"}'],
)
def test_what_is_no_json_object_is_raw(body: bytes) -> None:
    """A record that is not exactly one JSON object is shown as text, never dropped."""
    (line,) = split(b"\x1e" + body + b"\n")
    assert line.fields is None
    assert line.text.startswith("\x1e")


def test_json_of_any_depth_and_size_of_number_is_survived() -> None:
    """Nesting of 30 000 and numbers of 10 000 digits do no harm."""
    for body in (b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}", b'{"a":' + b"9" * 10_000 + b"}"):
        assert len(split(b"\x1e" + body + b"\n")) in (1, 4)


def test_a_torn_record_does_not_take_the_next_one_with_it() -> None:
    """A writer killed in the middle of a record leaves text; the record after it is whole."""
    lines = split(b'\x1e{"event":"hal\x1e{"event":"x"}\n')
    assert lines == [Line('\x1e{"event":"hal'), Line(fields={"event": "x"})]


def test_a_record_ends_text_that_was_printed_without_a_newline() -> None:
    """`print(..., end="")` before a record is a line of its own."""
    assert split(b'50 %\x1e{"a":1}\n') == [Line("50 %"), Line(fields={"a": 1})]


def test_a_long_line_is_split_and_marked() -> None:
    """A line of 40 KiB becomes three pieces; only the later ones say that they go on."""
    pieces = split(b"x" * 40 * 1024 + b"\n")
    assert [len(piece.text) for piece in pieces] == [MAX_LINE, MAX_LINE, 8 * 1024]
    assert [piece.continuation for piece in pieces] == [False, True, True]


def test_a_split_does_not_cut_a_character() -> None:
    """The pieces of a long line are valid UTF-8 when the line is."""
    text = "x" + "€" * 10_000
    pieces = split(text.encode() + b"\n")
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces) == text


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    """The limit itself is not over the limit."""
    (line,) = split(b"x" * MAX_LINE + b"\n")
    assert not line.continuation


def test_a_record_over_the_limit_is_text() -> None:
    """More than MAX_RECORD bytes are no record: nobody can make the pump keep more."""
    body = msgspec.json.encode({"event": "x" * MAX_RECORD})
    assert all(line.fields is None for line in split(b"\x1e" + body + b"\n"))


def test_the_rest_is_partial_only_when_nothing_more_comes() -> None:
    """The beginning of a line waits for its end; at the end of the source it is shown as such."""
    splitter = Splitter(records=True)
    assert splitter.split(b"hal") == ([], 0)
    assert splitter.split(b"hal", final=True) == ([Line("hal", partial=True)], 3)


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    """Invalid UTF-8 becomes backslash escapes; NUL stays a character of the text."""
    assert split(b"a\xff\x00\xc3\n") == [Line("a\\xff\x00\\xc3")]


def test_dos_line_ends_are_line_ends() -> None:
    """One carriage return before the newline belongs to it."""
    assert split(b"a\r\n") == [Line("a")]
