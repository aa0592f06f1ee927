"""How lines look to programs and to people."""

from typing import Any

import msgspec
import pytest

from supervisor.logs.lines import Line
from supervisor.logs.render import JsonRenderer, Origin, PrettyRenderer

ORIGIN = Origin("shop/web.1", "stderr", 42, 3)


def as_json(line: Line) -> dict[str, Any]:
    """Render for programs."""
    document: dict[str, Any] = msgspec.json.decode(JsonRenderer().render(line, ORIGIN, 0.0))
    return document


def as_text(line: Line, *, colour: bool = False) -> str:
    """Render for people."""
    return PrettyRenderer(colour).render(line, ORIGIN, 0.0).decode()


def test_a_record_cannot_say_who_wrote_it() -> None:
    """`source` is what the pump knows of the pipe; a field of that name is kept under another."""
    document = as_json(Line(fields={"event": "x", "source": "root", "incarnation": 9, "pid": 1}))
    assert document["source"] == {
        "path": "shop/web.1", "stream": "stderr", "pid": 42, "incarnation": 3,
    }  # fmt: skip
    assert document["source_"] == "root"


@pytest.mark.parametrize("when", [None, "now", float("-1e300"), 1e300, True, {}])
def test_a_nonsense_time_is_replaced(when: object) -> None:
    """A record that lies about its time gets the time at which it was read."""
    assert (
        as_json(Line(fields={"event": "x", "time": when}))["time"] == "1970-01-01T00:00:00.000000Z"
    )


def test_a_nonsense_level_is_info() -> None:
    """Only the five levels are levels."""
    assert as_json(Line(fields={"event": "x", "level": ["error"]}))["level"] == "info"


def test_a_raw_line_says_so() -> None:
    """Raw lines are marked, with what is known of their beginning and end."""
    document = as_json(Line("x", continuation=True, partial=True))
    assert document["raw"] is True
    assert document["continuation"] is True
    assert document["partial"] is True


ESCAPES = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\r overwritten",
    "\x08\x08",
    "\u202eevil",
    "\u2028",
    "a\nforged 12:00:00 INFO",
]


@pytest.mark.parametrize("text", ESCAPES)
@pytest.mark.parametrize("place", ["event", "key", "value", "nested", "raw"])
def test_nothing_in_a_line_can_steer_a_terminal_or_forge_a_line(text: str, place: str) -> None:
    """Controls are shown as escapes in events, keys, values and raw text; a line stays a line."""
    shown = as_text(
        {
            "event": Line(fields={"event": text}),
            "key": Line(fields={"event": "x", text: 1}),
            "value": Line(fields={"event": "x", "k": text}),
            "nested": Line(fields={"event": "x", "k": [{"a": text}]}),
            "raw": Line(text.replace("\n", "\r")),
        }[place]
    )
    assert shown.count("\n") == 1
    assert not set(shown) & set("\x1b\x9b\x07\x08\r\u202e\u2028")


def test_a_traceback_is_indented_below_its_line() -> None:
    """The lines of a traceback cannot be taken for lines of the log."""
    shown = as_text(
        Line(fields={"event": "failed", "traceback": "Traceback:\nValueError: \x1b[0m"})
    )
    assert shown.splitlines()[1:] == ["    Traceback:", "    ValueError: \\x1b[0m"]


def test_people_see_time_level_who_what_and_fields() -> None:
    """One line has all five, the values quoted where they need it."""
    line = Line(fields={"level": "warning", "event": "slow", "ms": 12, "q": "two words", "k": "v"})
    assert as_text(line)[13:] == 'WARN  shop/web[1] slow  ms=12  q="two words"  k=v\n'


def test_colours_are_only_ours() -> None:
    """With colours on, escape sequences are those of the renderer."""
    assert "\x1b[33m" in as_text(Line(fields={"level": "warning", "event": "x"}), colour=True)
    assert "\x1b[2J" not in as_text(Line("\x1b[2J"), colour=True)
