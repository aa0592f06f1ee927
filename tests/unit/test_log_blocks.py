"""Whole blocks at once: the same documents as line by line."""

from typing import Any

import msgspec
import pytest

from supervisor.logs.blocks import first_lines, whole_lines, wrap_raw, wrap_records
from supervisor.logs.lines import MAX_LINE, Splitter
from supervisor.logs.record import encode, timestamp
from supervisor.logs.render import JsonRenderer, Origin

OUT, ERR = Origin("a/b.0", "stdout", 7, 3), Origin("a/b.0", "stderr", 7, 3)
NOW = 1_700_000_000.25


def slowly(block: bytes, origin: Origin) -> list[dict[str, Any]]:
    """Render line by line."""
    lines, _ = Splitter(origin.stream == "stderr").split(block)
    render = JsonRenderer().render
    return [msgspec.json.decode(render(line, origin, NOW)) for line in lines]


def record(**fields: Any) -> bytes:
    """Make a record as a worker does."""
    return encode({"time": timestamp(NOW), "level": "info", "event": "x", **fields})


@pytest.mark.parametrize(
    "block",
    [
        b"one\n\ntwo\n",
        b'say "hi" \\n \\\\ \n\ttab\r\nbell\x07\x1b[31m\n',
        "é \u202e \u2028 \x85 \U0001f600\n".encode() + b"\xff\xfe\n",
    ],
)
def test_raw_lines_come_out_as_from_the_renderer(block: bytes) -> None:
    """Quotes, controls, broken UTF-8, what turns text around: nothing differs."""
    wrapped = wrap_raw(block, OUT, timestamp(NOW))
    assert wrapped is not None
    assert [msgspec.json.decode(line) for line in wrapped.splitlines()] == slowly(block, OUT)
    assert wrapped.decode().isprintable() or all(
        c.isprintable() or c == "\n" for c in wrapped.decode()
    )


def test_records_come_out_as_from_the_renderer() -> None:
    """Whatever is in them, as long as they are those of the process there is now."""
    block = record(order=1, incarnation=3) + record(text='é\n"', incarnation=3)
    wrapped = wrap_records(block, ERR)
    assert wrapped is not None
    assert [msgspec.json.decode(line) for line in wrapped.splitlines()] == slowly(block, ERR)


@pytest.mark.parametrize(
    "block",
    [
        record(incarnation=2),
        record(incarnation=3) + b"raw\n",
        record(source="forged", incarnation=3),
        record(raw=True, incarnation=3),
        record(incarnation=3, more=1),
        encode({"time": "soon", "level": "info", "event": "x", "incarnation": 3}),
        encode({"time": timestamp(NOW), "level": "loud", "event": "x", "incarnation": 3}),
        (
            b'\x1e{"time":"2026-11-21T10:11:51.123456Z","level":"info","event":[{"incarnation":3}\n'
            b'\x1e{"time":"2026-11-21T10:11:51.123456Z","level":"info","event":1}],"incarnation":3}\n'
        ),
        b'\x1e{"time":"2026-11-21T10:11:51.123456Z","level":"info","event":1},{"incarnation":3}\n',
    ],
)
def test_what_is_not_just_so_goes_line_by_line(block: bytes) -> None:
    """Others' records, forged fields, halves of documents that fit together."""
    assert wrap_records(block, ERR) is None


def test_lines_that_must_be_split_are_not_whole() -> None:
    """A block is whole lines only where none is too long."""
    assert whole_lines(b"a\nb\nrest") == 4
    assert whole_lines(b"no end") == 0
    assert whole_lines(b"x" * MAX_LINE * 2 + b"\n") == 0
    assert whole_lines((b"x" * 100 + b"\n") * 1000) == 101_000


@pytest.mark.parametrize("lines", [0, 1, 3, 9, 10, 50])
def test_a_block_is_cut_after_so_many_lines(lines: int) -> None:
    """Neither more lines nor more bytes than may pass."""
    block = b"".join(b"x" * n + b"\n" for n in range(10))
    end, count = first_lines(block, len(block), lines, len(block))
    assert count == min(lines, 10) == block[:end].count(b"\n")
    assert first_lines(block, len(block), lines, 3)[0] <= 3
