"""Whole blocks of lines as JSON lines at once: what lets one process keep up with a flood. Pure.

The renderer of single lines costs microseconds a line. Nearly all blocks are of one of two kinds,
which need a few passes over their bytes instead:

- raw text, whose JSON is the same for every line but for the text;
- records of the process there is now, just as `supervisor.logs.record` writes them: their JSON is
  right already but for who wrote it, which they cannot know.

Anything else (None is returned) is for the renderer, and comes out the same.
"""

import re

import msgspec

from supervisor.logs.lines import MAX_LINE
from supervisor.logs.render import UNSAFE, Origin, json_escaped

#: Stands for the newline while a block of text is encoded as one JSON string: never escaped.
_MARK = b"\x7f"
_UNSAFE_BUT_MARK = re.compile(UNSAFE.pattern.replace(r"\x7f-", r"\x80-"))
_RS = b"\x1e"
_HEAD = re.compile(
    rb'\x1e\{"time":"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",'
    rb'"level":"(?:debug|info|warning|error|critical)","event":'
)
_encode = msgspec.json.Encoder().encode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def whole_lines(data: bytes, used: int = 0) -> int:
    """Return how many bytes of a block are whole lines that need not be split; 0: go line by line.

    Args:
        data: what was seen of a stream, from the beginning of a line on.
        used: how many of its bytes may be used at most (0: all).

    """
    end = data.rfind(b"\n", 0, used or len(data)) + 1
    step = MAX_LINE // 2
    for start in range(0, end - 1, step):  # a newline in each half: no line is longer than a whole
        if data.find(b"\n", start, start + step) < 0 and end - start > step:
            return 0
    return end


def first_lines(data: bytes, end: int, lines: float, size: float) -> tuple[int, int]:
    """Return (bytes, lines) of the lines at the beginning of a block that are within two limits."""
    count = data.count(b"\n", 0, end)
    if size < end:
        end = data.rfind(b"\n", 0, max(0, int(size))) + 1
        count = data.count(b"\n", 0, end)
    if count > lines:
        count = max(0, int(lines))
        end -= len(data[:end].split(b"\n", count)[-1]) if count else end
    return end, count


def wrap_raw(block: bytes, origin: Origin, stamp: str) -> bytes | None:
    """Wrap raw lines.

    Args:
        block: whole lines.
        origin: who wrote them.
        stamp: when they were read.

    """
    if _MARK in block or _RS in block:
        return None
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    head = b'{"time":"%s","level":"info","event":"' % stamp.encode()
    tail = b'","source":%s,"raw":true}\n' % _encode(origin)
    text = block[:-1].replace(b"\n", _MARK).decode("utf-8", "backslashreplace")
    body = _encode(text)[1:-1]
    if not text.isascii():
        body = _UNSAFE_BUT_MARK.sub(json_escaped, body.decode()).encode()
    return b"".join((head, body.replace(_MARK, tail + head), tail))


def wrap_records(block: bytes, origin: Origin) -> bytes | None:
    """Complete records with who wrote them."""
    count = block.count(b"\n")
    claim = b',"incarnation":%d}\n' % (origin.incarnation or 0)
    if (
        not origin.incarnation
        or block.count(_RS) != count
        or block.count(claim) != count
        or len(_HEAD.findall(block)) != count
        or b'"source":' in block
        or b'"raw":' in block
    ):
        return None
    parts = block[1:-1].split(b"\n\x1e")
    try:
        found = _decode_array(b"[%s]" % b",".join(parts))
    except (ValueError, RecursionError):
        return None
    if len(found) != count or list(map(bytes, found)) != parts:  # two halves that fit together
        return None
    body = block.replace(_RS, b"")
    if not body.isascii() or _MARK in body:
        try:
            body = UNSAFE.sub(json_escaped, body.decode()).encode()
        except ValueError:
            return None
    return body.replace(claim, b',"source":%s}\n' % _encode(origin))
