"""One line as it was kept, and which lines somebody wants to see. Pure.

Raw lines have no level of their own and count as "info".
"""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from supervisor.logs.lines import Line
from supervisor.logs.record import LEVELS
from supervisor.logs.render import Origin, PrettyRenderer, safe

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
#: Who writes marks into the files of others.
PUMP = "runtime/pump"
#: What the pump has added to a record.
_ADDED = ("time", "level", "event", "source", "raw", "continuation", "partial")


class Entry(msgspec.Struct, frozen=True, order=True):
    """A kept line: its time (RFC 3339), its JSON without the newline, and what that says."""

    time: str
    text: bytes
    fields: dict[str, Any]

    @property
    def path(self) -> str:
        """The slot that wrote it."""
        source = self.fields.get("source")
        return str(source.get("path", "")) if isinstance(source, dict) else ""

    @property
    def about(self) -> str:
        """The slot that it is about: a mark of the pump's says whose lines are missing."""
        return str(self.fields.get("child")) if self.path == PUMP else self.path

    @property
    def event(self) -> str:
        """What it says."""
        return str(self.fields.get("event", ""))

    def shown(self, renderer: PrettyRenderer) -> bytes:
        """Render it for people."""
        source = self.fields.get("source")
        source = source if isinstance(source, dict) else {}
        origin = Origin(self.path, str(source.get("stream", "stderr")))
        if self.fields.get("raw") is True:
            continues = self.fields.get("continuation") is True
            line = Line(self.event, None, continues, self.fields.get("partial") is True)
        else:
            line = Line(fields={k: v for k, v in self.fields.items() if k != "source"})
        return renderer.render(line, origin, seconds(self.time))


def entry(text: bytes, fallback: str = "") -> Entry:
    """Read a kept line; one that is no JSON document becomes a raw one of unknown origin."""
    try:
        fields = _decode(text)
    except (ValueError, RecursionError):
        return raw_entry(text, fallback, {})
    time = fields.get("time")
    return Entry(time if isinstance(time, str) else fallback, safe(text), fields)


def raw_entry(text: bytes, time: str, source: dict[str, str]) -> Entry:
    """Make an entry of a line that is nothing but text."""
    fields = {
        "time": time,
        "level": "info",
        "event": text.decode("utf-8", "backslashreplace"),
        "source": source,
        "raw": True,
    }
    return Entry(time, safe(_encode(fields)), fields)


def marked(event: str, time: str, fields: dict[str, Any]) -> Entry:
    """Make an entry that says what is missing, as the pump's marks do."""
    source = {"path": PUMP, "stream": "stderr"}
    whole = {"time": time, "event": event, "source": source, **fields}
    return Entry(time, safe(_encode(whole)), whole)


def seconds(time: str) -> float:
    """Return Unix seconds of an RFC 3339 time; 0 if it is none."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Wanted(msgspec.Struct, frozen=True):
    """Which lines somebody wants to see. Times are RFC 3339 in UTC with microseconds.

    ``slots``: paths of slots that are meant alone; of children that have none here, all are.
    ``slot``: its number.
    """

    since: str = ""
    until: str = ""
    level: str = "debug"
    grep: str | None = None
    slots: tuple[str, ...] = ()
    slot: int | None = None

    def matcher(self) -> "Matcher":
        """Prepare to compare."""
        return Matcher(self)


class Matcher:
    """Says of each line whether it is wanted."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._floor = LEVELS[wanted.level]
        self._parted = {slot.rpartition(".")[0] for slot in wanted.slots}
        self._pattern = re.compile(wanted.grep) if wanted.grep is not None else None
        self._renderer = PrettyRenderer(colour=False)

    def __call__(self, line: Entry) -> bool:
        """Whether it is."""
        wanted = self._wanted
        if line.time < wanted.since or (wanted.until and line.time > wanted.until):
            return False
        level = line.fields.get("level")
        if LEVELS.get(level if isinstance(level, str) else "info", 20) < self._floor:
            return False
        path = line.about
        if path.rpartition(".")[0] in self._parted and path not in wanted.slots:
            return False
        if wanted.slot is not None and "." in path and not path.endswith(f".{wanted.slot}"):
            return False
        return self._pattern is None or bool(self._pattern.search(self._searched(line)))

    def _searched(self, line: Entry) -> str:
        others = {key: value for key, value in line.fields.items() if key not in _ADDED}
        if not others:
            return line.event
        pairs = "  ".join(f"{key}={_text(value)}" for key, value in others.items())
        return f"{line.event}  {pairs}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
