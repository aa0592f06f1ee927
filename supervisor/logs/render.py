"""How a line looks: JSON for programs, or aligned and coloured for people. Nothing in it can move a
terminal's cursor, turn text around, or pass for another line.

JSON: ``time`` (RFC 3339, UTC, microseconds), ``level``, ``event``, ``source`` (who, by its pipe),
then the record's own fields. Raw lines have ``"raw": true``, and where it holds
``"continuation": true`` (of the line before) and ``"partial": true``.
"""

import calendar
import re
import time
from typing import Any

import msgspec

from supervisor.logs.lines import Line
from supervisor.logs.record import LEVELS, timestamp

#: Columns of the path at most; longer ones are not aligned.
MAX_PATH_WIDTH = 32
#: Depth and length of values shown to people are those of their JSON, cut here.
MAX_VALUE = 2000

#: C0 without newline, DEL, C1, what turns the direction of text, and unpaired surrogates.
UNSAFE = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_STAMP = re.compile(r"[12]\d{3}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d\.\d{6}Z", re.ASCII)
_PLAIN_VALUE = re.compile(r"[\w./:@%+-]+\Z")
_COLOURS = {
    "debug": "90", "info": "32", "warning": "33", "error": "31", "critical": "1;31", "raw": "90",
}  # fmt: skip
_SHOWN = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR", "critical": "CRIT"}
#: Fields that have a place of their own, or are the pump's to know.
_PLACED = ("time", "level", "event", "incarnation")
_encode = msgspec.json.Encoder().encode


class Origin(msgspec.Struct, frozen=True):
    """Who wrote a line, as far as is known."""

    path: str
    stream: str
    pid: int | None = None
    incarnation: int | None = None


def level_of(line: Line) -> str:
    """Return a line's level: "raw" or one of `LEVELS`."""
    if line.fields is None:
        return "raw"
    level = line.fields.get("level")
    return level if isinstance(level, str) and level in LEVELS else "info"


def time_of(line: Line, now: float) -> str:
    """Return when a line was written: what its record says, or when it was read."""
    claimed = line.fields.get("time") if line.fields else None
    if isinstance(claimed, str) and _STAMP.fullmatch(claimed):
        return claimed
    believable = isinstance(claimed, float) and 0 < claimed < 1e11
    return timestamp(claimed if believable else now)  # type: ignore[arg-type]


def escape(text: str) -> str:
    """Show every control character (but not newline) as the escape sequence that stands for it."""
    return UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_escaped(match: re.Match[str]) -> str:
    """Write an unsafe character as JSON does."""
    return f"\\u{ord(match[0]):04x}"


def safe(body: bytes) -> bytes:
    """Make a JSON document, which has no control characters of ASCII, safe on a terminal."""
    if body.isascii() and b"\x7f" not in body:
        return body
    return UNSAFE.sub(json_escaped, body.decode("utf-8", "backslashreplace")).encode()


class JsonRenderer:
    """One JSON object a line."""

    def render(self, line: Line, origin: Origin, now: float) -> bytes:
        """Render one line, newline included."""
        level = level_of(line)
        document: dict[str, Any] = {
            "time": time_of(line, now),
            "level": "info" if level == "raw" else level,
            "event": line.text,
            "source": origin,
        }
        if line.fields is None:
            document["raw"] = True
            if line.continuation:
                document["continuation"] = True
            if line.partial:
                document["partial"] = True
        else:
            document["event"] = line.fields.get("event", "")
            for key, value in line.fields.items():
                if key not in _PLACED:
                    document["source_" if key == "source" else key] = value
        return safe(_encode(document)) + b"\n"


class PrettyRenderer:
    """Time, level, who, what, and the fields."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour
        self._width = 0
        self._minute, self._local = "", ""

    def render(self, line: Line, origin: Origin, now: float) -> bytes:
        """Render one line, newline included; a traceback becomes indented lines below it."""
        level = level_of(line)
        shown = _SHOWN.get(level) or _one_line(origin.stream[3:])  # "out", "err"
        who = self._who(origin.path)
        head = f"{self._stamp(time_of(line, now))} {self._paint(f'{shown:<5}', level)} {who}"
        body = self._raw(line) if line.fields is None else self._fields(line.fields)
        return f"{head} {body}\n".encode("utf-8", "backslashreplace")

    def _raw(self, line: Line) -> str:
        before, after = "… " if line.continuation else "", " …" if line.partial else ""
        return before + _one_line(line.text) + after

    def _fields(self, fields: dict[str, Any]) -> str:
        parts = [_one_line(fields.get("event", ""))]
        for key, value in fields.items():
            if key in _PLACED or key == "traceback":
                continue
            pair = f"{_one_line(key)}={_value(value)}"
            parts.append(f"\x1b[90m{pair}\x1b[0m" if self._colour else pair)
        trace = fields.get("traceback")
        if isinstance(trace, str):
            return "  ".join(parts) + "\n    " + escape(trace).replace("\n", "\n    ")
        return "  ".join(parts)

    def _who(self, path: str) -> str:
        name, dot, slot = path.rpartition(".")
        who = _one_line(f"{name}[{slot}]" if dot else path)
        self._width = min(max(self._width, len(who)), MAX_PATH_WIDTH)
        return f"{who:<{self._width}}"

    def _paint(self, text: str, level: str) -> str:
        return f"\x1b[{_COLOURS[level]}m{text}\x1b[0m" if self._colour else text

    def _stamp(self, stamp: str) -> str:
        minute = stamp[:16]
        if minute != self._minute:
            self._minute = minute
            try:
                utc = calendar.timegm(time.strptime(minute, "%Y-%m-%dT%H:%M"))
            except ValueError:  # the thirtieth of February
                utc = 0
            self._local = time.strftime("%H:%M", time.localtime(utc))
        return f"{self._local}:{stamp[17:23]}"


def _one_line(value: object) -> str:
    text = value if isinstance(value, str) else _encode(value).decode()
    return escape(text).replace("\n", "\\n")


def _value(value: object) -> str:
    if isinstance(value, str) and _PLAIN_VALUE.match(value):
        return value
    text = _encode(value).decode()
    return escape(text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + "…")
