"""`status` and `tree`: look at a running app."""

import os

import click
import msgspec

from supervisor.cli.app import control_path, debug_option, json_option, name_option, options
from supervisor.cli.health import assess
from supervisor.cli.report import print_json, use_colour
from supervisor.cli.status_view import status_text
from supervisor.cli.tree_view import tree_text
from supervisor.control.client import get_snapshot
from supervisor.crashes.register import REGISTER, with_reports
from supervisor.observe.snapshot import Snapshot


@click.command()
@options(name_option, json_option, debug_option)
def status(name: str | None, as_json: bool, debug: bool) -> int:
    """Show every child; exit with 0 if the app works, 3 if it does not run or does not work."""
    snapshot = _look(name)
    verdict = assess(snapshot)
    if as_json:
        print_json(
            {
                "schema": "supervisor.status/1",
                "status": verdict.word.lower(),
                "notes": verdict.notes,
                "snapshot": msgspec.to_builtins(snapshot),
            }
        )
    else:
        click.echo(status_text(snapshot, verdict, use_colour()), color=True)
    return verdict.exit_code


@click.command()
@options(name_option, json_option, debug_option)
def tree(name: str | None, as_json: bool, debug: bool) -> None:
    """Draw the supervision tree: strategies, states, pids, restarts, last exits."""
    snapshot = _look(name)
    if as_json:
        print_json({"schema": "supervisor.tree/1", "tree": msgspec.to_builtins(snapshot.tree)})
    else:
        click.echo(tree_text(snapshot, use_colour()), color=True)


def _look(name: str | None) -> Snapshot:
    """Ask an app for its state, and look up the crash reports of its last exits."""
    control = control_path(name)
    return with_reports(get_snapshot(control), REGISTER.read(os.path.dirname(control)))
