"""From bytes in a pipe to lines: pure, and the same however the bytes are cut into reads.

    text\n                 a raw line
    RS {json}\n            a structured record, in streams where records are allowed
    RS {json RS {json}\n   a record whose writer died, then a record: the first is raw text

A raw line longer than `MAX_LINE` becomes pieces; all but the first say ``continuation``. A record
that is too long, torn, or not a JSON object is raw text too: nothing is ever thrown away here.
Each byte is looked at a fixed number of times, so that no line can cost more than its length.
"""

from typing import Any

import msgspec

from supervisor.logs.record import MAX_RECORD

#: Bytes of a raw line; longer ones are split.
MAX_LINE = 16 * 1024

_SEPARATOR = 0x1E
_RS = b"\x1e"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Line(msgspec.Struct, frozen=True):
    """One line. ``fields``: those of a structured record; None: it is the raw ``text``.

    ``continuation``: it goes on where the line before it stopped. ``partial``: its writer ended, or
    fell silent, in the middle of it.
    """

    text: str = ""
    fields: dict[str, Any] | None = None
    continuation: bool = False
    partial: bool = False


class Splitter:
    """Splits one stream. Keeps no bytes: what is not a whole line yet has to be shown again.

    Args:
        records: whether records are allowed in this stream, or everything is raw.
        continuation: the first byte goes on where a piece of a line stopped.

    """

    def __init__(self, records: bool, continuation: bool = False) -> None:
        self._records = records
        self._continuation = continuation  # the next byte goes on where a piece stopped

    @property
    def continues(self) -> bool:
        """Whether what comes next goes on where a piece of a line stopped."""
        return self._continuation

    def split(self, data: bytes, *, final: bool = False) -> tuple[list[Line], int]:
        """Split what is there.

        Args:
            data: everything from the first byte that was not used before.
            final: nothing more will come soon: the rest is a partial line.

        Returns:
            the lines, and how many bytes of ``data`` they used up.

        """
        lines: list[Line] = []
        start, size = 0, len(data)
        while start < size:
            end = self._one(data, start, lines)
            if end < 0:
                break
            start = end
        if final and start < size:
            lines.append(self._raw(data[start:], partial=True))
            self._continuation = False
            start = size
        return lines, start

    def _one(self, data: bytes, start: int, lines: list[Line]) -> int:
        """Take one line from ``start``; returns where the next begins, or -1 if it is not whole."""
        is_record = self._records and data[start] == _SEPARATOR
        limit = start + (MAX_RECORD if is_record else MAX_LINE)
        end = data.find(b"\n", start, limit + 1)
        if self._records:
            separator = data.find(_RS, start + 1, limit + 1 if end < 0 else end)
            if separator >= 0:  # what was before it was never ended
                lines.append(self._raw(data[start:separator]))
                self._continuation = False
                return separator
        if end < 0:
            return -1 if len(data) <= limit else self._piece(data, start, lines)
        lines.append(self._record(data, start, end) if is_record else self._raw(data[start:end]))
        self._continuation = False
        return end + 1

    def _piece(self, data: bytes, start: int, lines: list[Line]) -> int:
        end = start + MAX_LINE
        for _ in range(3):  # not in the middle of a UTF-8 sequence
            if data[end] & 0xC0 != 0x80:
                break
            end -= 1
        lines.append(self._raw(data[start:end]))
        self._continuation = True
        return end

    def _record(self, data: bytes, start: int, end: int) -> Line:
        try:
            return Line(fields=_decode(data[start + 1 : end]))
        except (ValueError, RecursionError):
            return self._raw(data[start:end])

    def _raw(self, data: bytes, *, partial: bool = False) -> Line:
        text = data.removesuffix(b"\r").decode("utf-8", "backslashreplace")
        return Line(text, continuation=self._continuation, partial=partial)
