"""Every error that the runtime raises on purpose, by whose fault it is.

A message gives the value, what is allowed, and what to do. A bug of the runtime itself is an
assertion, never one of these.
"""

import sys


class SupervisorError(Exception):
    """Base of all errors of this package. ``exit_code`` is what the CLI exits with."""

    exit_code = 1


class DefinitionError(SupervisorError):
    """The author's tree is wrong: a bad value, a duplicate name, an unknown queue.

    Args:
        problem: what is wrong, with the value.
        where: ``file:line`` of the Child, Supervisor or Queue, if known.
        help: what is allowed and what to do.

    """

    exit_code = 78

    def __init__(self, problem: str, *, where: str = "", help: str = "") -> None:  # noqa: A002
        self.problem, self.where, self.help = problem, where, help
        place = f"\n  --> {where}" if where else ""
        hint = f"\nhelp: {help}" if help else ""
        super().__init__(f"{problem}{place}{hint}")


class AppLoadError(SupervisorError):
    """The author's module cannot be imported, or it has no tree of that name."""

    exit_code = 78

    def __init__(self, problem: str, *, where: str = "", help: str = "", detail: str = "") -> None:  # noqa: A002
        self.problem, self.where, self.help, self.detail = problem, where, help, detail
        place = f"\n  --> {where}" if where else ""
        hint = f"\nhelp: {help}" if help else ""
        super().__init__(f"{problem}{place}{hint}")


class UnusableLogs(SupervisorError):  # noqa: N818 - said as the user would
    """Log files cannot be kept, or read, where the user wants them."""

    exit_code = 78

    def __init__(self, problem: str, *, help: str = "") -> None:  # noqa: A002
        self.problem, self.help = problem, help
        super().__init__(f"{problem}\nhelp: {help}" if help else problem)


class StartError(SupervisorError):
    """A child could not be started."""


class ProtocolError(SupervisorError):
    """A peer sent a message that is malformed, too large, or not of the protocol."""


class AlreadyRunning(SupervisorError):  # noqa: N818 - it is a state, said as the user would
    """Another root of the same name is running."""

    exit_code = 75


class NotRunning(SupervisorError):  # noqa: N818
    """No running app answers under that name."""

    exit_code = 3


class NoSuchChild(SupervisorError):  # noqa: N818
    """No child has that path."""

    exit_code = 4


class Ignore(Exception):  # noqa: N818 - OTP's word
    """Raise in ``init`` to decline to start: OTP's ``ignore``. Not an error; no restart."""


def text_of(error: BaseException) -> str:
    """Return the text of anybody's exception: its ``__str__`` may raise, or name a file in bytes.

    It can be encoded: what is no character is written out.
    """
    try:
        text = str(error)
    except Exception as problem:
        text = f"<its str() raised {type(problem).__name__}>"
    return escaped(text)


def escaped(text: str) -> str:
    """Write out what of a text is no character, as in the names of files: then it can be sent."""
    return text.encode(errors="backslashreplace").decode()


def summary_of(error: BaseException) -> str:
    """Say anybody's exception with its type."""
    return f"{type(error).__name__}: {text_of(error)}"


def place_of_caller() -> str:
    """Return "file:line" of whoever has called who calls this: mistakes are said with it."""
    frame = sys._getframe(2)
    return escaped(f"{frame.f_code.co_filename}:{frame.f_lineno}")
