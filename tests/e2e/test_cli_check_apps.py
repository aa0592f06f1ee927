"""`supervisor check` on apps as authors write them, through a real template."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import supervisor

APP = """\
import argparse
from supervisor import Child, Supervisor

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, default=2)
options = parser.parse_args()

def work():
    pass

tree = Supervisor("shop", [Child("web", work, count=options.count)])
typo = Supervisor("shop", [
    Child("web", work, restart="permanant"),
])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write an app."""
    (tmp_path / "shopapp.py").write_text(APP)
    return tmp_path


def check(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the project's directory."""
    command = [sys.executable, "-m", "supervisor.cli.main", "check", *arguments]
    env = {**os.environ, "PYTHONPATH": str(Path(supervisor.__file__).parents[1])}
    return subprocess.run(
        command, cwd=project, env=env, capture_output=True, text=True, check=False
    )


def test_an_app_reads_its_own_arguments(project: Path) -> None:
    """Options that are not ours arrive in its sys.argv, with and without "--"."""
    for arguments in (["--count", "7"], ["--", "--count", "7"]):
        result = check(project, "shopapp:tree", "--json", *arguments)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["tree"]["children"][0]["count"] == 7


def test_a_typo_is_shown_where_it_was_written(project: Path) -> None:
    """File and line of the declaration, and the word that was meant."""
    result = check(project, "shopapp:typo")
    assert result.returncode == 78
    assert result.stdout == ""
    assert f"  --> {project}/shopapp.py:13\n" in result.stderr
    assert 'did you mean "permanent"?' in result.stderr
    assert "Traceback" not in result.stderr


def test_what_cannot_be_imported(project: Path) -> None:
    """No such module, no such tree: both exit with 78."""
    for app in ("nope:tree", "shopapp:tre"):
        result = check(project, app)
        assert result.returncode == 78
        assert result.stderr.startswith("error: ")
        assert "help: " in result.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('raise ValueError("caf\\udce9.txt")', "ValueError: caf\\udce9.txt"),
        (
            "class E(Exception):\n    def __str__(self): return self.missing\nraise E",
            "E: <its str() raised AttributeError>",
        ),
        (
            (
                "from supervisor import Child, Supervisor\n"
                'tree = Supervisor("a", [Child("x", print, env={"FILE": "caf\\udce9"})])'
            ),
            "the tree has text that is not UTF-8: 'caf\\udce9'",
        ),
    ],
)
def test_what_cannot_be_sent_is_said_nevertheless(project: Path, text: str, problem: str) -> None:
    """Bytes of a file's name, a __str__ that raises: a message, and no traceback of the runtime."""
    (project / "odd.py").write_text(text)
    result = check(project, "odd:tree")
    assert result.returncode == 78
    assert problem in result.stderr
    assert "Traceback" not in result.stderr


def test_a_directory_that_is_gone_is_named(project: Path) -> None:
    """What it was started in was removed: that is said, and not that the app has crashed."""
    command = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-P", "-m", "supervisor.cli.main", "check",
         "shopapp:tree"],
        cwd=project, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(supervisor.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 78
    assert "the directory that this was started in cannot be used" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_it_works_without_streams(project: Path, closed: str) -> None:
    """Started with closed standard streams, as daemons are: the app is loaded all the same."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "supervisor.cli.main",
         "check", "shopapp:tree"],
        cwd=project, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(supervisor.__file__).parents[1])},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_misspelt_parameter_is_shown_with_the_one_that_was_meant(project: Path) -> None:
    """Of a Child, a Supervisor or a Queue: not Python's words about a constructor."""
    (project / "misspelt.py").write_text(
        "from supervisor import Child\nchild = Child('web', print, restrat='transient')\n"
    )
    result = check(project, "misspelt:tree")
    assert result.returncode == 78
    assert 'error: Child has no parameter "restrat"' in result.stderr
    assert f"  --> {project}/misspelt.py:2\n" in result.stderr
    assert 'help: did you mean "restart"?' in result.stderr


def test_a_file_instead_of_a_module_is_told_apart(project: Path) -> None:
    """shopapp.py:tree is what one writes first; the help has what is right."""
    result = check(project, "shopapp.py:tree")
    assert result.returncode == 78
    assert "write the module without .py: shopapp:tree" in result.stderr


def test_what_an_app_says_when_it_leaves_is_shown(project: Path) -> None:
    """`sys.exit("...")` at import: its words, the line, what to do, and 78."""
    (project / "leaving.py").write_text("import sys\nsys.exit('DATABASE_URL is not set')\n")
    result = check(project, "leaving:tree")
    assert result.returncode == 78
    assert "imported: DATABASE_URL is not set\n" in result.stderr
    assert f"  --> {project}/leaving.py:2\n" in result.stderr
    assert "help: an app must not leave while it is imported" in result.stderr
