"""What commands of a running app share: which app, how long, JSON or text."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from supervisor.cli.units import SECONDS
from supervisor.control import runtime_dir

Function = TypeVar("Function", bound=Callable[..., Any])
#: Seconds for a command that waits for children to stop and start.
COMMAND_TIMEOUT = 60.0

name_option = click.option(
    "--name", envvar="SUPERVISOR_NAME", metavar="NAME", help="Which app, if several are running."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
debug_option = click.option("--debug", is_flag=True, help="Show tracebacks of the runtime.")
timeout_option = click.option(
    "--timeout",
    type=SECONDS,
    default=COMMAND_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the outcome.",
)


def options(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Add options in the order in which they are listed in --help."""

    def apply(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def control_path(name: str | None) -> str:
    """Find the control socket of the app that is meant."""
    return runtime_dir.socket_path(runtime_dir.choose(name))
