"""`doctor`: is this machine fit, and does anything in the app grow without end?"""

import dataclasses
import os

import click

from supervisor.cli.app import control_path, debug_option, json_option, name_option, options
from supervisor.cli.report import print_json, use_colour
from supervisor.cli.text import line, paint, table
from supervisor.control.client import get_snapshot
from supervisor.doctor.accumulators import Accumulator, accumulators
from supervisor.doctor.environment import Finding, examine
from supervisor.errors import NotRunning

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@click.command()
@options(name_option, json_option, debug_option)
def doctor(name: str | None, as_json: bool, debug: bool) -> int:
    """Check this machine, and list what accumulates in the running app.

    Who recycles it, how much there is of it, how much there may be. It exits with 0, or with 78
    if the machine lacks what is needed. Without a running app, only the machine is checked.
    """
    findings = examine()
    found: list[Accumulator] | None
    try:
        control = control_path(name)
        found = accumulators(get_snapshot(control), os.path.dirname(control))
    except NotRunning:
        if name is not None:
            raise
        found = None
    if as_json:
        print_json(
            {
                "schema": "supervisor.doctor/1",
                "machine": [dataclasses.asdict(one) for one in findings],
                "accumulators": None
                if found is None
                else [{**dataclasses.asdict(one), "high": one.is_high} for one in found],
            }
        )
    else:
        click.echo(text(findings, found, use_colour()), color=True)
    return 78 if any(one.word == "fail" for one in findings) else 0


def text(findings: list[Finding], found: list[Accumulator] | None, colour: bool) -> str:
    """Render both tables."""
    rows = [[one.name, one.word, line(one.found), line(one.means)] for one in findings]
    lines = []
    for cells, finding in zip(table(rows), findings, strict=True):
        cells[1] = paint(cells[1], _COLOURS[finding.word], colour)
        lines.append("  ".join(cells).rstrip())
    if found is None:
        return "\n".join([*lines, "", "no app is running: only the machine was checked"])
    head = ["ACCUMULATES", "RECYCLED BY", "SIZE", "LIMIT", ""]
    rows = [head, *(_row(one) for one in found)]
    lines.append("")
    for cells, one in zip(table(rows), [None, *found], strict=True):
        is_high = one is not None and one.is_high
        lines.append(paint("  ".join(cells).rstrip(), "yellow" if is_high else None, colour))
    return "\n".join(lines)


def _row(one: Accumulator) -> list[str]:
    size, limit = _shown(one.size, one.unit), _shown(one.limit, one.unit)
    return [line(one.name), one.recycler, size, limit, line(one.note)]


def _shown(amount: float | None, unit: str) -> str:
    if amount is None:
        return "-"
    if unit != "bytes":
        return f"{amount:g} {unit}".strip()
    step = 0
    while amount >= 1024 and step < len(_UNITS) - 1:
        amount, step = amount / 1024, step + 1
    return f"{amount:.0f} {_UNITS[step]}" if step == 0 else f"{amount:.1f} {_UNITS[step]}"
