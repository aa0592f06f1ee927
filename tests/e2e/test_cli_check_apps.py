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
