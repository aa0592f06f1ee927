"""`log-level`: change what a running child logs."""

from typing import Any

import click

from supervisor.cli.app import (
    control_path,
    debug_option,
    json_option,
    name_option,
    options,
    timeout_option,
)
from supervisor.cli.report import print_json
from supervisor.cli.text import clean
from supervisor.cli.units import PATH, Duration
from supervisor.control.client import ask
from supervisor.control.messages import MAX_SECONDS, SetLogLevel
from supervisor.logs.record import LEVELS


@click.command("log-level")
@click.argument("path", type=PATH)
@click.argument("level", type=click.Choice([*LEVELS, "default"], case_sensitive=False))
@options(
    click.option(
        "--for", "seconds", type=Duration(MAX_SECONDS), metavar="TIME",
        help="How long, for example 10m [default: until the app ends].",
    ),
    name_option,
    timeout_option,
    json_option,
    debug_option,
)  # fmt: skip
def log_level(
    path: str,
    level: str,
    seconds: float | None,
    name: str | None,
    timeout: float,
    as_json: bool,
    debug: bool,
) -> int:
    """Log records of LEVEL and above at PATH: a slot, a child, or all below a supervisor.

    It holds for running workers and for those started later; "default" undoes it.
    """
    wanted: Any = None if level.lower() == "default" else level.lower()
    done = ask(control_path(name), SetLogLevel(path, wanted, seconds), timeout)
    if as_json:
        print_json(
            {"schema": "supervisor.command/1", "changed": done.changed, "failed": done.failed}
        )
    else:
        click.echo(clean(done.message))
    return 0
