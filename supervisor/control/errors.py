"""Errors of talking to a running app, each with the exit code of the CLI."""

from supervisor.errors import SupervisorError


class ControlError(SupervisorError):
    """Base: ``code`` is a stable word for programs, ``hint`` says what to do."""

    code = "failed"

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem, self.hint = problem, hint
        super().__init__(f"{problem}\nhelp: {hint}" if hint else problem)


class UnsafeDirectory(ControlError):  # noqa: N818 - it is a state of the machine
    """The runtime directory could be changed by somebody else, or cannot be used."""

    code = "unsafe-directory"
    exit_code = 78


class WhichApp(ControlError):  # noqa: N818
    """Several apps are running, and none was named."""

    code = "which-app"
    exit_code = 2


class NoAnswer(ControlError):  # noqa: N818
    """The app did not answer in time."""

    code = "timed-out"
    exit_code = 6


class NotPermitted(ControlError):  # noqa: N818
    """The app belongs to another user."""

    code = "not-permitted"
    exit_code = 77


class CommandFailed(ControlError):  # noqa: N818
    """The app refused or could not do what it was asked."""

    def __init__(
        self,
        problem: str,
        hint: str = "",
        *,
        code: str = "failed",
        exit_code: int = 1,
        where: str = "",
    ):
        super().__init__(problem, hint)
        self.code, self.exit_code, self.where = code, exit_code, where
