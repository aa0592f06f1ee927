"""The entry point of `supervisor`: finds the command, reports errors, sets the exit code.

A command's module is imported when it is used, so that `supervisor status` does not pay for `run`.
"""

import os
import sys
from collections.abc import Sequence

import click

from supervisor.cli.report import Problem, report

#: Command to the module that has it and one line of help (so that --help imports none of them).
COMMANDS = {
    "run": ("supervisor.cli.run", "Run an app in the foreground."),
    "check": ("supervisor.cli.check", "Check an app without starting it."),
    "status": ("supervisor.cli.status", "Show every child; the exit code is the app's health."),
    "tree": ("supervisor.cli.status", "Draw the supervision tree."),
    "doctor": ("supervisor.cli.doctor", "Check the machine, and what accumulates in an app."),
    "logs": ("supervisor.cli.logs", "Show kept log lines, and follow them."),
    "crashes": ("supervisor.cli.crashes", "List crash reports, and show one."),
    "log-level": ("supervisor.cli.log_level", "Change what children log, for a while."),
    "restart": ("supervisor.cli.children", "Restart children."),
    "recycle": ("supervisor.cli.children", "Replace processes; the new one is ready first."),
    "stop": ("supervisor.cli.children", "Stop children, or the whole app."),
    "start": ("supervisor.cli.children", "Start children that were stopped."),
    "reload": ("supervisor.cli.children", "Load the app's code anew, and replace what changed."),
    "scale": ("supervisor.cli.children", "Change how many slots a child has."),
    "queue": ("supervisor.cli.queue", "Look at queues, pause, drain, purge and fill them."),
    "dlq": ("supervisor.cli.dlq", "Look at dead letters, replay or discard them."),
}
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List them in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        import importlib

        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the command that was meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from supervisor.declare.checks import did_you_mean

            advice = did_you_mean(args[0], COMMANDS, "see them with supervisor --help")
            raise Problem(f'there is no command "{args[0]}"', advice, "usage", 2)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import supervisor

        click.echo(f"supervisor {supervisor.__version__} (letitcrash)")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip
def cli() -> None:
    """Supervise trees of processes, as Erlang/OTP does.

    \b
    Exit codes: 0 ok · 1 failed · 2 usage · 3 not running or not healthy
    4 no such child or queue · 5 partly failed · 6 timed out · 70 the tree gave up
    75 already running · 77 not permitted · 78 bad app or environment · 130 interrupted
    """


def execute(argv: Sequence[str]) -> int:
    """Run one command line; return its exit code. Every error is reported here."""
    own = list(argv[: argv.index("--")]) if "--" in argv else list(argv)
    as_json = "--json" in own and own[:1] != ["run"]  # to `run` it may be the app's
    try:
        result = cli.main(args=list(argv), prog_name="supervisor", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        _forget_stdout()  # it may be full, and nobody read what still waits for it
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return 1
    except Exception as error:
        if "--debug" in own:
            import traceback

            # Of an app that cannot be imported, the author's traceback is the one to see.
            click.echo(getattr(error, "detail", "") or traceback.format_exc(), err=True)
        return report(error, as_json=as_json)
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run the command line of this process."""
    _have_streams()
    for stream in (sys.stdout, sys.stderr):
        # A path or a message that this terminal cannot show is no reason to fail.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = execute(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except OSError as error:
        _forget_stdout()
        code = code or report(error)
    except KeyboardInterrupt:
        _forget_stdout()
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _have_streams() -> None:
    """Open the streams that we were started without: the next socket would be one of them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            os.set_inheritable(number, True)  # the processes that we start have them too
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))


def _forget_stdout() -> None:
    """Point standard output at nothing: nobody reads it any more (`supervisor tree | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
