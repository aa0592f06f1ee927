"""Queues, messages and dead letters as text for a terminal."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.cli.text import clean, line, paint, plural

#: Characters of a message in a list.
SHOWN = 70
#: Characters of what is said of a queue, before its value.
WIDTH = 25
#: What is not shown twice, or not by itself, of one queue.
_LEFT_OUT = {"name", "capacity", "bytes_capacity", "dead_capacity", "dead_full"}


def queues_text(queues: Sequence[dict[str, Any]], colour: bool) -> str:
    """Draw a table of queues."""
    if not queues:
        return "the app has no queues"
    rows = [["QUEUE", "MESSAGES", "LEASED", "CONSUMERS", "BLOCKED", "DEAD", "OLDEST"]]
    rows += [
        [
            line(str(one["name"])),
            f"{one['depth']}/{one['capacity']}",
            *(str(one[field]) for field in ("leased", "consumers")),
            blocked(one),
            str(one["dead"]),
            _seconds(one.get("oldest_age_s", 0.0)),
        ]
        for one in queues
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    states = ["STATE", *(_state(one, colour) for one in queues)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), state])
        for row, state in zip(rows, states, strict=True)
    )


def blocked(one: Mapping[str, Any]) -> str:
    """Say how many producers are held back, and for how long the first of them has been."""
    count, seconds = one.get("blocked", "-"), float(one.get("blocked_longest_seconds", 0.0))
    return f"{count} ({_seconds(seconds)})" if seconds else str(count)


def queue_text(one: dict[str, Any], colour: bool) -> str:
    """Write all that is known of one queue."""
    lines = [f"{line(str(one['name']))}  {_state(one, colour)}"]
    lines.append(f"  {'messages':<{WIDTH}}{one['depth']} of {one['capacity']}")
    lines.append(f"  {'dead letters':<{WIDTH}}{one['dead']} of {one.get('dead_capacity', '?')}")
    for field, value in one.items():
        if field not in _LEFT_OUT and field not in ("depth", "dead"):
            lines.append(f"  {field.replace('_', ' '):<{WIDTH}}{line(str(value))}")
    return "\n".join(lines)


def _state(one: dict[str, Any], colour: bool) -> str:
    """Say what is out of the ordinary."""
    found = [word for word in ("paused", "squeezed", "closed") if one.get(word)]
    if one.get("dead_full"):
        found.append("dead letters full")
    if one.get("damage"):
        found.append(f"damaged ({one['damage']})")
    store = one.get("store")
    if store not in ("", "ok", None):
        found.append(f"store {line(str(store))}")
    if not found:
        return paint("ok", "green", colour)
    return paint(", ".join(found), "yellow" if found in (["paused"], ["closed"]) else "red", colour)


def messages_text(messages: Sequence[dict[str, Any]]) -> str:
    """Write messages, one a line."""
    if not messages:
        return "no messages wait"
    return "\n".join(
        f"{one['id']:<12} attempt {one['attempt']}  {_message(one['message'])}" for one in messages
    )


def letters_text(letters: Sequence[dict[str, Any]], total: int) -> str:
    """Write dead letters, one a line."""
    if not letters:
        return "no dead letters"
    lines = [
        f"{one['id']:<8}{_ago(one['died']):>8}  {line(one['reason'], 12):<12}"
        f"{plural(one['attempts'], 'attempt'):>12}  {line(one['error'] or '-', 40):<40}  "
        f"{_message(one['message'])}"
        for one in letters
    ]
    if total > len(letters):
        lines.append(f"{len(letters)} of {total}; more with --offset and --limit")
    return "\n".join(lines)


def letter_text(one: dict[str, Any]) -> str:
    """Write all of one dead letter."""
    shown = json.dumps(one["message"], indent=2, ensure_ascii=False)
    attempts = plural(one["attempts"], "attempt")
    lines = [
        f"dead letter {one['id']}: {clean(one['reason'])} after {attempts}",
        f"  put    {_ago(one['first_put'])} ago",
        f"  died   {_ago(one['died'])} ago",
    ]
    if one["error"]:
        lines.append(f"  error  {line(one['error'], 500)}")
    if one.get("worker"):
        lines.append(f"  worker {line(one['worker'])}, process {one['process'] or '?'}")
    for report in one.get("crash_reports", ()):
        lines.append(f"  crash  supervisor crashes show {line(report)}")
    lines += [clean(shown)]
    if one["traceback"]:
        lines += [clean(one["traceback"])]
    return "\n".join(lines)


def _message(message: object) -> str:
    return line(json.dumps(message, ensure_ascii=False), SHOWN)


def _ago(then: float) -> str:
    return _seconds(max(0.0, time.time() - then)) if then else "?"


def _seconds(seconds: float) -> str:
    """Write a duration in its largest fitting unit."""
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
