"""Errors as the user sees them: what, where, what to do; or the same as JSON.

error: child "web": restart is "permanant"; allowed: ...
  --> app.py:31
help: did you mean "permanent"?
"""

import errno
import re

import click

from supervisor.cli.text import clean, escape
from supervisor.errors import SupervisorError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERNAL = 70
#: What writing to standard output fails with when there is no room for it.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Problem(SupervisorError):  # noqa: N818 - what it is to the user
    """An error of the command line itself."""

    def __init__(self, problem: str, hint: str = "", code: str = "failed", exit_code: int = 1):
        self.problem, self.hint, self.code, self.exit_code = problem, hint, code, exit_code
        super().__init__(problem)


class Facts:
    """What an error says, whatever its type."""

    def __init__(self, error: BaseException) -> None:
        self.where = getattr(error, "where", "")
        match error:
            case SupervisorError():
                message, _, rest = str(error).partition("\nhelp: ")
                self.message = getattr(error, "problem", "") or message
                self.hint = getattr(error, "hint", "") or getattr(error, "help", "") or rest
                self.code = getattr(error, "code", "") or dashed(type(error).__name__)
                self.exit_code = error.exit_code
            case click.exceptions.NoArgsIsHelpError():  # its message is the whole help
                group = error.ctx.command_path if error.ctx else "supervisor"
                self.message, self.hint = "no command is given", f"see them with {group} --help"
                self.code, self.exit_code = "usage", EXIT_USAGE
            case click.ClickException():
                self.message, self.hint = error.format_message(), ""
                if isinstance(error, click.UsageError) and error.ctx is not None:
                    self.hint = f"see {error.ctx.command_path} --help"
                self.code, self.exit_code = "usage", EXIT_USAGE
            case OSError() if error.errno in NO_ROOM and error.filename is None:
                self.message = f"the output cannot be written: {error.strerror}"
                self.hint = "see where standard output goes"
                self.code, self.exit_code = "failed", EXIT_FAILED
            case _:
                self.message = f"internal error: {type(error).__name__}: {error}"
                self.hint = "run it again with --debug for the traceback"
                self.code, self.exit_code = "internal", EXIT_INTERNAL


def report(error: BaseException, *, as_json: bool = False) -> int:
    """Print an error and return the exit code that goes with it."""
    facts = Facts(error)
    if as_json:
        print_json(
            {
                "error": {
                    "code": facts.code,
                    "message": facts.message,
                    "hint": facts.hint or None,
                    "where": facts.where or None,
                }
            }
        )
        return facts.exit_code
    lines = [f"{click.style('error', fg='red', bold=True)}: {clean(facts.message)}"]
    if facts.where:
        lines.append(f"  --> {clean(facts.where)}")
    if facts.hint:
        lines.append(f"help: {clean(facts.hint)}")
    click.echo("\n".join(lines), err=True, color=None if use_colour(err=True) else False)
    return facts.exit_code


def print_json(document: object) -> None:
    """Print one JSON document, indented."""
    import msgspec  # here: most commands print no JSON

    click.echo(escape(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()))


def use_colour(*, err: bool = False) -> bool:
    """Tell whether colours are welcome on standard output (or error)."""
    import os
    import sys

    stream = sys.stderr if err else sys.stdout
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def dashed(name: str) -> str:
    """Make a stable word of a class's name: NoSuchChild is "no-such-child"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
