"""`logs`: read what the pump has kept, and follow it."""

import heapq
import os
import re
import sys
import time
from collections.abc import Iterable
from datetime import datetime

import click

from supervisor.cli.app import debug_option, name_option, options
from supervisor.cli.following import Following
from supervisor.cli.report import Problem, use_colour
from supervisor.cli.text import clean
from supervisor.cli.units import PATH, seconds
from supervisor.control import runtime_dir
from supervisor.descriptors import use_all_descriptors
from supervisor.errors import NotRunning
from supervisor.logs import place
from supervisor.logs.catalog import children, choose
from supervisor.logs.entry import Entry, Matcher, Wanted
from supervisor.logs.entry import seconds as seconds_of
from supervisor.logs.record import LEVELS, timestamp
from supervisor.logs.render import PrettyRenderer
from supervisor.logs.shelf import Shelf

#: Lines shown unless the user says how many, or since when.
DEFAULT_LINES = 100


@click.command()
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@options(
    click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on."),
    click.option("--since", metavar="TIME", help="Lines since 10m ago, 14:30, 2026-11-21T08:00."),
    click.option("--until", metavar="TIME", help="Lines until then."),
    click.option(
        "--level", type=click.Choice(list(LEVELS), case_sensitive=False), default="debug",
        help="Lines of this level and above; raw lines count as info.",
    ),
    click.option("--grep", metavar="REGEX", help="Lines in which this is found."),
    click.option("--slot", type=click.IntRange(min=0), metavar="N", help="Lines of slot N alone."),
    click.option(
        "-n", "--lines", metavar="N", help="The last N lines, or all [default: 100; with "
        "--since all].",
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON document a line, as kept."),
    click.option("--raw", is_flag=True, help="The text alone, as it was written."),
    click.option("--logs", metavar="DIR", help="Where they are, if not where the app says."),
    name_option,
    debug_option,
)  # fmt: skip
def logs(
    paths: tuple[str, ...], follow: bool, since: str | None, until: str | None, level: str,
    grep: str | None, slot: int | None, lines: str | None, as_json: bool, raw: bool,
    logs: str | None, name: str | None, debug: bool,
) -> int:  # fmt: skip
    """Show kept lines of the children at each PATH, or of all, merged by time.

    It reads over rotated and compressed files, also after the app has ended.
    """
    use_all_descriptors()
    root = _directory(logs, name)
    chosen, slots = choose(children(root), paths)
    now = time.time()
    wanted = Wanted(
        since=_moment(since, now),
        until=_moment(until, now),
        level=level.lower(),
        grep=_checked(grep),
        slots=slots,
        slot=slot,
    )
    limit = _limit(lines, since)
    printer = _Printer(as_json=as_json, raw=raw)
    shelves = [Shelf(root, child) for child in chosen]
    matches = wanted.matcher()
    try:
        following = Following(root, paths, shelves) if follow else None
        found = _last(shelves, matches, limit, wanted.since)
        if following is not None:
            found = following.join(found, matches, limit)
        for line in found:
            printer.print(line)
        if following is not None:
            following.run(matches, printer.print, printer.flush)
    except LookupError as error:
        raise Problem(str(error)) from error
    except OSError as error:
        if error.filename is None:  # the reader of our output has gone
            raise
        raise Problem(f"{error.filename} cannot be read: {error.strerror}") from error
    return 0


def _directory(given: str | None, name: str | None) -> str:
    """Find the log directory that is meant."""
    if given is not None:
        return os.path.abspath(given)
    name = name or os.environ.get("SUPERVISOR_NAME")
    runtime: str | None = None
    try:
        runtime = runtime_dir.choose(name)
    except NotRunning:
        runtime = runtime_dir.locate(name) if name else None
    if runtime is not None and (pointed := place.pointed(runtime)):
        return pointed
    known = place.known()
    if name and name in known:
        return known[name]
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    shown = ", ".join(known) or "none"
    hint = "name the app with --name, or the directory with --logs"
    raise Problem(f"whose logs? apps that have kept some: {shown}", hint, "which-app", 2)


def _moment(text: str | None, now: float) -> str:
    """Parse a time, or how long ago, into the form that lines have."""
    if text is None:
        return ""
    ago = seconds(text.removesuffix("ago").strip())
    if ago is not None:
        return timestamp(max(0.0, now - ago))
    if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text):
        text = datetime.fromtimestamp(now).strftime("%Y-%m-%dT") + text
    try:
        return timestamp(datetime.fromisoformat(text).timestamp())  # local unless it says
    except (ValueError, OverflowError):
        problem = f'"{text}" is no time; for example 10m, 14:30 or 2026-11-21T08:00'
        raise click.UsageError(problem) from None


def _checked(pattern: str | None) -> str | None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise click.UsageError(f'--grep "{pattern}" is no regular expression: {error}') from error
    return pattern


def _limit(lines: str | None, since: str | None) -> int | None:
    if lines is None:
        return DEFAULT_LINES if since is None else None
    if lines == "all":
        return None
    if not lines.isdecimal():
        raise click.UsageError(f'-n is "{lines}"; allowed: a number, or all')
    return int(lines)


def _last(shelves: list[Shelf], matches: Matcher, limit: int | None, since: str) -> Iterable[Entry]:
    """Merge the lines that are wanted by time, the last ones if there is a limit."""
    if limit is None:
        moment = seconds_of(since) if since else 0.0
        streams = [filter(matches, shelf.all(moment)) for shelf in shelves]
        return heapq.merge(*streams, key=lambda line: line.time)
    found: list[Entry] = []
    for shelf in shelves:
        mine: list[Entry] = []
        for lines in shelf.backwards() if limit else ():
            mine = [line for line in lines if matches(line)] + mine
            if len(mine) >= limit or (lines and lines[-1].time < since):
                break
        found += mine[-limit:] if limit else []
    found.sort(key=lambda line: line.time)
    return found[-limit:] if limit else []


class _Printer:
    """Prints lines in one of three forms; nothing in them can move a terminal's cursor."""

    def __init__(self, *, as_json: bool, raw: bool) -> None:
        self._as_json, self._raw = as_json, raw
        self._renderer = PrettyRenderer(colour=use_colour())
        self._is_terminal = sys.stdout.isatty()

    def print(self, line: Entry) -> None:
        """Print one."""
        if self._as_json:
            data = line.text + b"\n"
        elif self._raw:
            text = clean(line.event) if self._is_terminal else line.event
            data = (text + "\n").encode("utf-8", "backslashreplace")
        else:
            data = line.shown(self._renderer)
        sys.stdout.buffer.write(data)

    def flush(self) -> None:
        """Let it be seen now."""
        sys.stdout.buffer.flush()
