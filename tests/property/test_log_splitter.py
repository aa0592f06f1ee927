"""The splitter against a model that looks at one byte at a time, under every way of reading."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.logs import lines as subject
from supervisor.logs.lines import Line, Splitter
from supervisor.logs.render import JsonRenderer, Origin, PrettyRenderer

#: Small limits, so that short examples reach them.
LINE, RECORD = 8, 30

BYTES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"\n", b"\x1e", b"\r", b"\x1b[2J", b"\xff", b"\0", b"x" * 9, "€".encode(), b"\xc2\x9b"]
        ),
        st.sampled_from([b'\x1e{"event":"hi"}\n', b'\x1e{"a":"\xe2\x80\xae"}\n', b'{"a":1}\n']),
        st.binary(max_size=6),
    ),
    max_size=12,
).map(b"".join)


@pytest.fixture(autouse=True, scope="module")
def small_limits() -> object:
    """Make short examples long enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "MAX_LINE", LINE)
        patch.setattr(subject, "MAX_RECORD", RECORD)
        yield


def model(data: bytes, records: bool) -> list[tuple[bytes, bool, bool]]:
    """Say what lines there are: (bytes, continuation, partial)."""
    found: list[tuple[bytes, bool, bool]] = []
    current, continuation = b"", False

    def limit() -> int:
        return RECORD if records and current.startswith(b"\x1e") else LINE

    for value in data:
        byte = bytes([value])
        if byte == b"\n" or (byte == b"\x1e" and records and current):
            found.append((current, continuation, False))
            current, continuation = (b"" if byte == b"\n" else byte), False
            continue
        current += byte
        while len(current) > limit():
            end = LINE
            while end > LINE - 3 and current[end] & 0xC0 == 0x80:
                end -= 1
            found.append((current[:end], continuation, False))
            current, continuation = current[end:], True
    if current:
        found.append((current, continuation, True))
    return found


def expected(data: bytes, records: bool) -> list[Line]:
    """Say what the splitter should find."""
    result = []
    for raw, continuation, partial in model(data, records):
        line = Line(
            raw.removesuffix(b"\r").decode("utf-8", "backslashreplace"), None, continuation, partial
        )
        if records and raw.startswith(b"\x1e") and not partial and not continuation:
            try:
                fields = msgspec.json.decode(raw[1:], type=dict)
            except ValueError:
                pass
            else:
                if ended_by_newline(data, raw):
                    line = Line(fields=fields)
        result.append(line)
    return result


def ended_by_newline(data: bytes, raw: bytes) -> bool:
    """Whether that record is followed by a newline, not torn by the next one."""
    return raw + b"\n" in data


def read_in_pieces(data: bytes, cuts: list[int], records: bool) -> list[Line]:
    """Show the splitter more and more, as a pump does: what it does not use is shown again."""
    splitter, found, start = Splitter(records), [], 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        lines, used = splitter.split(data[start:end])
        found += lines
        start += used
    lines, used = splitter.split(data[start:], final=True)
    assert start + used == len(data)
    return found + lines


@given(BYTES, st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_any_way_of_reading_gives_the_lines_of_the_model(
    data: bytes, cuts: list[int], records: bool
) -> None:
    """However the bytes arrive, the lines are those of a byte-by-byte model, and none is lost."""
    assert read_in_pieces(data, cuts, records) == expected(data, records)


@given(BYTES, st.booleans())
def test_json_output_is_one_valid_object_a_line(data: bytes, records: bool) -> None:
    """Whatever is written, each output line is one JSON object without control characters."""
    origin, renderer = Origin("shop/a.0", "stderr", 1, 1), JsonRenderer()
    for line in read_in_pieces(data, [], records):
        rendered = renderer.render(line, origin, 1.5e9)
        assert rendered.endswith(b"\n")
        document = msgspec.json.decode(rendered)
        assert document["source"]["path"] == "shop/a.0"
        assert not set(rendered[:-1]) & {*range(32), 127}
        assert not set(rendered.decode()) & set("\x9b\u202e\u2028\ufeff")


@given(BYTES, st.booleans())
def test_pretty_output_cannot_steer_a_terminal(data: bytes, records: bool) -> None:
    """Whatever is written, no control character but the newline reaches a terminal."""
    renderer = PrettyRenderer(colour=False)
    for line in read_in_pieces(data, [], records):
        shown = renderer.render(line, Origin("shop/a.0", "stderr"), 1.5e9).decode()
        assert not {c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160} - {"\n"}
        assert not set(shown) & set("\u202e\u2028\ufeff")
