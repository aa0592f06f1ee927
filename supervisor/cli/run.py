"""`run`: be the root of an app until it ends."""

import difflib
import os
import re
from typing import Any

import click
from click.core import ParameterSource

from supervisor.cli.app import debug_option
from supervisor.cli.app import options as add_options
from supervisor.cli.log_options import LOG_OPTIONS, log_settings
from supervisor.cli.report import EXIT_USAGE, Problem
from supervisor.cli.units import COUNT, Number
from supervisor.config import DEFAULT_HEALTH, RunOptions
from supervisor.core.budget import BURST, RATE

HEALTH = "{}:{}".format(*DEFAULT_HEALTH)
APP = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def app_name(value: str) -> str:
    """Check the form "module:attribute"; whether it exists is seen when it is imported."""
    if APP.fullmatch(value):
        return value
    module, _, attribute = value.partition(":")
    module = module.removesuffix(".py").strip("./").replace("/", ".") or "app"
    example = f"{module}:{attribute or 'tree'}"
    raise click.BadParameter(f'"{value}" is not MODULE:TREE; for example {example}')


def address(value: str) -> tuple[str, int]:
    """Parse HOST:PORT, :PORT or PORT."""
    host, _, port = value.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise click.BadParameter(f'"{value}" is not HOST:PORT; for example {HEALTH}')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise click.BadParameter(f'"{value}": write an IPv6 address in brackets, [::1]:{port}')
    return host or DEFAULT_HEALTH[0], int(port)


app_argument = click.argument("app", type=app_name)
app_args_argument = click.argument(
    "app_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS...]"
)
#: Options that are not ours go to the app.
PASS_ON = {"ignore_unknown_options": True}
#: An option so much like one of ours is a slip, and not the app's.
LIKENESS = 0.85


class RunCommand(click.Command):
    """Passes on what is not its own, but for what looks like a slip of the pen."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an option that is almost one of ours; behind "--" everything is the app's."""
        own = [name for option in self.get_params(ctx) for name in option.opts]
        for word in args[: args.index("--")] if "--" in args else args:
            name = word.partition("=")[0]
            if not name.startswith("--") or name in own:
                continue
            if close := difflib.get_close_matches(name, own, 1, LIKENESS):
                advice = f'did you mean {close[0]}? If it is the app\'s, write it behind "--"'
                raise Problem(f"there is no option {name}", advice, "usage", EXIT_USAGE)
        return super().parse_args(ctx, args)


@click.command(cls=RunCommand, context_settings=PASS_ON)
@app_argument
@app_args_argument
@add_options(
    click.option("--name", metavar="NAME", help="Name of the running app [default: its module's]."),
    click.option(
        "--health", type=address, metavar="HOST:PORT", default=HEALTH,
        envvar="SUPERVISOR_HEALTH", show_default=True,
        help="Where to serve health; port 0 takes a free one. If you name it, it has to be free.",
    ),
    click.option("--no-health", is_flag=True, help="Serve no health."),
    click.option(
        "--log-format", type=click.Choice(["json", "pretty", "none"]),
        envvar="SUPERVISOR_LOG_FORMAT",
        help="What is printed [default: pretty on a terminal, json otherwise].",
    ),
    click.option(
        "--spares", type=click.IntRange(0, 4), default=2, show_default=True,
        help="Processes that each supervisor keeps forked ahead of a restart.",
    ),
    click.option(
        "--restart-burst", type=click.IntRange(min=1), default=BURST, show_default=True,
        help="Restarts of the whole tree that may come at once (at least two for each slot).",
    ),
    click.option(
        "--restart-rate", type=Number(min=0, min_open=True), default=RATE,
        show_default=True, help="Restarts of the whole tree per second, after the burst.",
    ),
    click.option(
        "--state", metavar="DIR", envvar="SUPERVISOR_STATE_DIR",
        type=click.Path(file_okay=False, resolve_path=True),
        help="Where durable queues are kept [default: by the app's name, in the state directory].",
    ),
    click.option(
        "--core-files", type=COUNT, metavar="COUNT", default=5, show_default=True,
        help="Core files that are kept where workers run, the newest; 0: all.",
    ),
    *LOG_OPTIONS,
    debug_option,
)  # fmt: skip
def run(
    app: str,
    app_args: tuple[str, ...],
    name: str | None,
    health: tuple[str, int],
    no_health: bool,
    log_format: str | None,
    spares: int,
    restart_burst: int,
    restart_rate: float,
    state: str | None,
    core_files: int,
    debug: bool,
    **log_options: Any,
) -> int:
    """Run APP (MODULE:TREE) in the foreground until it is stopped or gives up.

    What follows "--", and options that are not listed here, are for the app: it finds them in
    sys.argv[1:] when its module is imported.
    """
    options = RunOptions(
        app=app,
        name=_checked(name or os.environ.get("SUPERVISOR_NAME")),
        health=None if no_health else health,
        health_required=_is_given("health"),
        log_format=log_format,
        debug=debug,
        spares=spares,
        restart_burst=restart_burst,
        restart_rate=restart_rate,
        state=state,
        core_files=core_files,
        runtime_dir=os.environ.get("SUPERVISOR_RUNTIME_DIR"),
        app_args=app_args,
        logs=log_settings(log_options),
    )
    from supervisor.run import run_root

    return run_root(options)


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is not ParameterSource.DEFAULT


def _checked(name: str | None) -> str | None:
    from supervisor.declare.checks import NAME, NAME_RULE

    if name is not None and not NAME.fullmatch(name):
        raise click.UsageError(f'--name is "{name}"; use {NAME_RULE}')
    return name
