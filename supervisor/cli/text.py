"""Pieces of text for a terminal: cleaned of control characters, aligned, sparingly coloured."""

import re
import unicodedata
from collections.abc import Sequence

#: Escape sequences: CSI, OSC (to its end) and the other strings, two-character ones.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
#: C0 and C1 but not newline, and what turns the direction of text around.
_CONTROLS = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "grey": "90"}
_STATE_COLOURS = {
    "ready": "green", "running": "green", "OK": "green",
    "starting": "yellow", "restarting": "yellow", "stopping": "yellow", "WARN": "yellow",
    "unkillable": "red", "FAIL": "red", "stopped": "grey",
}  # fmt: skip


def clean(text: str) -> str:
    """Take out everything that could move the cursor or turn text around."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def escape(json: str) -> str:
    """Write the same characters in a JSON text as escapes: it may be read on a terminal."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match.group()):04x}", json)


def line(text: str, limit: int = 120) -> str:
    """Clean a text of others and make it one line of bounded length."""
    text = " ".join(clean(text[: limit * 8]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def paint(text: str, colour: str | None, on: bool) -> str:
    """Colour a text, if colours are on."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if on and colour else text


def paint_state(text: str, state: str, on: bool) -> str:
    """Colour a text by the state that it shows."""
    return paint(text, _STATE_COLOURS.get(state), on)


def duration(seconds: float) -> str:
    """Write a duration in at most two units: 0.8s, 42s, 3m20s, 2h10m, 5d3h."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for unit, size, lower, step in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "m", 60),
        ("m", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // step
            return f"{whole // size}{unit}" + (f"{rest}{lower}" if rest else "")
    return f"{whole}s"


def width(text: str) -> int:
    """Count the columns that a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def table(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Pad every column but the last to its widest cell."""
    widths = [max(width(row[n]) for row in rows) for n in range(len(rows[0]))] if rows else []
    return [
        [
            cell if n == len(row) - 1 else cell + " " * (widths[n] - width(cell))
            for n, cell in enumerate(row)
        ]
        for row in rows
    ]


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
