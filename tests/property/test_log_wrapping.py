"""Blocks at once and lines one by one: two ways to the same documents, however they are cut."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from supervisor.logs.blocks import first_lines, whole_lines, wrap_raw, wrap_records
from supervisor.logs.lines import Splitter
from supervisor.logs.record import encode, timestamp
from supervisor.logs.render import JsonRenderer, Origin

NOW = 1_700_000_000.25
OUT, ERR = Origin("a/b.0", "stdout", 7, 3), Origin("a/b.0", "stderr", 7, 3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def slowly(block: bytes, origin: Origin) -> list[object]:
    """Render line by line."""
    lines, used = Splitter(origin.stream == "stderr").split(block)
    assert used == len(block)
    render = JsonRenderer().render
    return [msgspec.json.decode(render(line, origin, NOW)) for line in lines]


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), min_size=1))
def test_raw_bytes(lines: list[bytes]) -> None:
    """Any bytes: the same documents, or left to the renderer."""
    block = b"".join(line + b"\n" for line in lines)
    wrapped = wrap_raw(block, OUT, timestamp(NOW))
    if wrapped is None:
        assert b"\x7f" in block or b"\x1e" in block
    else:
        assert [msgspec.json.decode(line) for line in wrapped.splitlines()] == slowly(block, OUT)


@given(st.lists(st.dictionaries(st.text(max_size=8), json_values, max_size=4), min_size=1))
def test_records(records: list[dict[str, object]]) -> None:
    """Any fields: the same documents, or left to the renderer."""
    block = b""
    for fields in records:
        head = {"time": timestamp(NOW), "level": "info", "event": "x"}
        others = {key: value for key, value in fields.items() if key not in (*head, "incarnation")}
        block += encode({**head, **others, "incarnation": 3})
    wrapped = wrap_records(block, ERR)
    if wrapped is not None:
        assert [msgspec.json.decode(line) for line in wrapped.split(b"\n")[:-1]] == slowly(
            block, ERR
        )


@given(st.lists(st.binary(max_size=30)), st.integers(0, 40), st.integers(0, 2000))
def test_cuts(pieces: list[bytes], lines: int, size: int) -> None:
    """A cut is after a newline, within both limits, and as long as they allow."""
    data = b"\n".join(pieces)
    whole = data.rfind(b"\n") + 1
    end, count = first_lines(data, whole, lines, size)
    assert end <= size
    assert count == data.count(b"\n", 0, end) <= lines
    assert not end or data[end - 1 : end] == b"\n"
    following = data.find(b"\n", end) + 1
    assert not following or count == lines or following > size
    assert whole_lines(data) in (0, data.rfind(b"\n") + 1)
