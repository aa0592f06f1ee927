"""Errors of the command line: their form, their exit codes, and the way out in each."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from supervisor.cli import report as report_module
from supervisor.cli.main import COMMANDS, cli, execute
from supervisor.cli.report import report
from supervisor.config import DEFAULT_HEALTH, RunOptions
from supervisor.control.errors import CommandFailed
from supervisor.control.paths import resolve
from supervisor.definition import LogsDefinition
from supervisor.errors import AlreadyRunning, AppLoadError, DefinitionError, NoSuchChild


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for apps where there are none."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("SUPERVISOR_NAME", "SUPERVISOR_RUNTIME_DIR", "SUPERVISOR_HEALTH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("command", "code", "message", "hint"),
    [
        ("statsu", 2, 'no command "statsu"', 'did you mean "status"?'),
        ("--bogus", 2, "--bogus", "see supervisor --help"),
        ("run", 2, "APP", "see supervisor run --help"),
        ("run app.py", 2, '"app.py" is not MODULE:TREE', "app:tree"),
        ("run shop/app.py:tree", 2, "for example shop.app:tree", ""),
        ("run app:tree --health nowhere", 2, '"nowhere" is not HOST:PORT', ""),
        ("run app:tree --health 1.2.3.4:99999", 2, "is not HOST:PORT", ""),
        ("run app:tree --health ::1:80", 2, "[::1]:80", ""),
        ("run app:tree --log-level loud", 2, "loud", ""),
        ("run app:tree --name Shop", 2, '--name is "Shop"', ""),
        ("run app:tree --no-helth", 2, "no option --no-helth", "did you mean --no-health?"),
        ("restart", 2, "PATH", ""),
        ("scale web", 2, 'write "PATH=N"', ""),
        ("scale web=x", 2, '"x" is no number of slots', ""),
        ("scale web -1", 2, "-1", ""),
        ("scale web=99999", 2, "allowed: 0 to 10000", ""),
        ("status --timeout 1", 2, "--timeout", ""),
        ("restart web --timeout 0", 2, "0", ""),
        ("status", 3, "no app is running", "supervisor run MODULE:TREE"),
        ("status --name shop", 3, '"shop" is not running', ""),
        ("stop", 3, "no app is running", ""),
        ("", 2, "no command is given", "see them with supervisor --help"),
        ("queue", 2, "no command is given", "see them with supervisor queue --help"),
        ("stop --timeout nan", 2, '"nan" is not allowed', ""),
        ("stop --timeout 1e400", 2, "31622400 at most", ""),
        ("queue show orders --timeout inf", 2, "31622400 at most", ""),
        ("queue peek orders --offset 99999999999999999999", 2, "too large a number", ""),
        ("dlq show orders 99999999999999999999", 2, "too large a number", ""),
        ("run app:tree --core-files 99999999999999999999", 2, "too large a number", ""),
        ("run app:tree --restart-rate nan", 2, '"nan" is no number to count with', ""),
        ("run app:tree --log-rate inf", 2, '"inf" is no number to count with', ""),
        ("run app:tree --log-retention 0d", 2, '"0d" is not allowed: more than 0', ""),
        ("log-level web debug --for 0", 2, "more than 0, at most", ""),
        ("log-level web debug --for 999d", 2, "more than 0, at most", ""),
        ("restart \udc80", 2, "'\\udc80' is no name", "see supervisor restart --help"),
        ("queue pause \udc80", 2, "'\\udc80' is no name", ""),
        (f"restart {'a/' * 4000}", 2, "a/...' is no name", ""),
    ],
)
def test_a_wrong_command_line_says_what_to_do(
    command: str, code: int, message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Messages are on standard error, in the one form, with the documented code."""
    assert execute(command.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert hint in err
    assert "Traceback" not in err


def test_an_empty_path_is_refused_before_anybody_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The shell's unset variable: what a request cannot carry is said in words, not in types."""
    assert execute(["restart", ""]) == 2
    assert "'' is no name; for example web, or shop/web.0" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["status"]])
def test_a_full_disk_below_standard_output_is_told(arguments: list[str]) -> None:
    """No internal error: what cannot be written, and an exit code that scripts see."""
    command = [sys.executable, "-m", "supervisor.cli.main", *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    wrote_nothing = arguments == ["status"]  # no app runs: its message is on standard error
    assert done.returncode == (3 if wrote_nothing else 1)
    assert ("the output cannot be written: No space" in done.stderr) is not wrote_nothing
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_are_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """The document is on standard output, with the same exit code."""
    assert execute(["status", "--json"]) == 3
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert error["code"] == "not-running"
    assert error["message"] == "no app is running"
    assert err == ""
    assert execute(["scale", "web=x", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_a_definition_error_has_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """Problem, arrow, help: the form that compilers use."""
    error = DefinitionError('child "web": count is 0', where="app.py:31", help="use 1")
    assert report(error) == 78
    assert capsys.readouterr().err == (
        'error: child "web": count is 0\n  --> app.py:31\nhelp: use 1\n'
    )


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (AppLoadError("x"), 78, "app-load-error"),
        (AlreadyRunning("x\nhelp: y"), 75, "already-running"),
        (NoSuchChild("x"), 4, "no-such-child"),
        (CommandFailed("x", "y", code="unkillable", exit_code=5), 5, "unkillable"),
        (RuntimeError("x"), 70, "internal"),
    ],
)
def test_every_error_has_a_code_and_a_word(
    error: Exception, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs go by the word, shells by the code."""
    assert report(error, as_json=True) == code
    assert json.loads(capsys.readouterr().out)["error"]["code"] == word


def test_error_texts_are_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    """An author's repr or a path cannot steer the terminal."""
    report(NoSuchChild("no \x1b[2Jchild"))
    assert capsys.readouterr().err == "error: no child\n"


def test_json_is_escaped_for_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    """The document says the same, and no character of it steers."""
    report(NoSuchChild("no \x1b[2J\x9b1m\u202echild"), as_json=True)
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert json.loads(out)["error"]["message"] == "no \x1b[2J\x9b1m\u202echild"


def test_an_internal_error_hides_its_traceback_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours exits with 70; --debug shows where it is."""

    def broken(*_args: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("supervisor.cli.status.control_path", broken)
    assert execute(["status"]) == 70
    err = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: oops" in err
    assert "Traceback" not in err
    assert execute(["status", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a command that waits."""

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("supervisor.cli.status.control_path", interrupted)
    assert execute(["status"]) == 130


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("run app:tree", RunOptions("app:tree")),
        ("run app:tree --chaos-kill 5", RunOptions("app:tree", app_args=("--chaos-kill", "5"))),
        ("run app:tree -- --name x", RunOptions("app:tree", app_args=("--name", "x"))),
        (
            "run --name shop app:tree --seed=3 --no-health x",
            RunOptions("app:tree", name="shop", health=None, app_args=("--seed=3", "x")),
        ),
        (
            "run app:tree --health :0",
            RunOptions("app:tree", health=(DEFAULT_HEALTH[0], 0), health_required=True),
        ),
        (
            "run a.b:c.d --health [::1]:80",
            RunOptions("a.b:c.d", health=("::1", 80), health_required=True),
        ),
        (
            "run app:tree --log-level debug --log-format json --debug",
            RunOptions(
                "app:tree", logs=LogsDefinition(level="DEBUG"), log_format="json", debug=True
            ),
        ),
    ],
)
def test_run_options(command: str, expected: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not ours goes to the app, in order; its result is the exit code."""
    seen: list[RunOptions] = []
    module = type(sys)("supervisor.run")
    module.run_root = lambda options: seen.append(options) or 70  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervisor.run", module)
    assert execute(command.split()) == 70
    assert seen == [expected]


def test_a_taken_port_names_who_has_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the app is imported."""
    monkeypatch.setenv("SUPERVISOR_RUNTIME_DIR", str(tmp_path / "run"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert execute(["run", "app:tree", "--health", str(port)]) == 78
    err = capsys.readouterr().err
    assert f"cannot serve health on 127.0.0.1:{port}: Address already in use by " in err
    assert f"(pid {os.getpid()})" in err
    assert "--no-health" in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    """--help works for each command in the table."""
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


def test_colour_only_where_it_is_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR, a dumb terminal and a pipe get none."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert report_module.use_colour()
    monkeypatch.setenv("TERM", "dumb")
    assert not report_module.use_colour()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not report_module.use_colour()


def test_paths_are_resolved_or_suggested() -> None:
    """Short paths work; a typo names the path that was probably meant."""
    known = ["shop", "shop/web", "shop/web.0", "shop/pay", "shop/pay/charge"]
    assert resolve("web", known, "shop") == "shop/web"
    assert resolve("shop/pay/charge/", known, "shop") == "shop/pay/charge"
    assert resolve("shop", known, "shop") == "shop"
    for wrong, meant in (("shop/wep", "shop/web"), ("charge", "shop/pay/charge")):
        with pytest.raises(NoSuchChild, match=f'did you mean "{meant}"'):
            resolve(wrong, known, "shop")
    with pytest.raises(NoSuchChild, match="supervisor tree"):
        resolve("xyzzy", known, "shop")


def test_starting_up_imports_little() -> None:
    """The start of a command is quick because it does not load what it does not use."""
    heavy = {
        "asyncio",
        "msgspec",
        "psutil",
        "structlog",
        "importlib.metadata",
        "supervisor.root.root",
    }
    script = (
        "import sys; from supervisor.cli.main import execute; execute(['--version']);"
        f"print(*sorted({heavy!r} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[0].startswith("supervisor ")
    assert printed.splitlines()[1:] == [""]
