"""What words of a command line may be: 200MiB, 10m, 14d, a number of seconds, a path."""

import math
import re
from typing import Any

import click

from supervisor.control.messages import MAX_PATH, MAX_SECONDS
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


class Number(click.FloatRange):
    """A number in a range that is finite: Python takes "nan" to be in every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse one."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f'"{value}" is no number to count with; for example 10', param, ctx)
        return found


class Count(click.IntRange):
    """A whole number from 0 on, of those that messages between processes can carry."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse one."""
        found = int(super().convert(value, param, ctx))
        if found >= 2**63:
            self.fail(f'"{value}" is too large a number', param, ctx)
        return found


class Seconds(click.FloatRange):
    """Seconds that one may wait for something: more than none, and a year at most."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse one."""
        found = float(super().convert(value, param, ctx))
        if not found <= MAX_SECONDS:
            self.fail(f'"{value}" is not allowed: seconds, {MAX_SECONDS} at most', param, ctx)
        return found


class Path(click.ParamType):  # type: ignore[type-arg]
    """A path in the tree, or the name of a queue: what a request can carry."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse one."""
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            size = 0
        if not 0 < size <= MAX_PATH:
            shown = ascii(value if len(value) < MAX_PATH else value[:40] + "...")
            self.fail(f"{shown} is no name; for example web, or shop/web.0", param, ctx)
        return str(value)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds: a number, or one with a unit; ``longest``: of them."""

    name = "duration"

    def __init__(self, longest: float = math.inf) -> None:
        self._longest = longest

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse one."""
        if isinstance(value, int | float):
            return float(value)
        found = seconds(value)
        if found is None:
            self.fail(f'"{value}" is no duration; for example 30s, 10m, 2h, 14d', param, ctx)
        if not 0 < found <= self._longest:
            most = "" if math.isinf(self._longest) else f", at most {self._longest:g} s"
            self.fail(f'"{value}" is not allowed: more than 0{most}', param, ctx)
        return found


def seconds(text: str) -> float | None:
    """Parse a duration; None: it is none."""
    match = _DURATION.fullmatch(text.strip())
    return float(match[1]) * _SECONDS[match[2]] if match else None


SIZE, DURATION, SECONDS, COUNT, PATH = Size(), Duration(), Seconds(), Count(), Path()
