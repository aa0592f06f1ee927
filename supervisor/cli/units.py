"""Sizes and durations as words of a command line: 200MiB, 10m, 14d."""

import re
from typing import Any

import click

from supervisor.declare.checks import Subject, size
from supervisor.errors import DefinitionError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|)")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


class Size(click.ParamType):  # type: ignore[type-arg] # generic only in newer clicks
    """Bytes: a number, or one with a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse one."""
        text = int(value) if isinstance(value, str) and value.isdecimal() else value
        try:
            return size(Subject("", ""), "", text)
        except DefinitionError:
            self.fail(f'"{value}" is no size; for example 200MiB', param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds: a number, or one with a unit."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse one."""
        if isinstance(value, int | float):
            return float(value)
        found = seconds(value)
        if found is None:
            self.fail(f'"{value}" is no duration; for example 30s, 10m, 2h, 14d', param, ctx)
        return found


def seconds(text: str) -> float | None:
    """Parse a duration; None: it is none."""
    match = _DURATION.fullmatch(text.strip())
    return float(match[1]) * _SECONDS[match[2]] if match else None


SIZE, DURATION = Size(), Duration()
