"""Kills between the system calls of a pump that writes, rotates, compresses and repairs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("form", "compress", "step"), [("json", "no", 2), ("raw", "no", 3), ("json", "yes", 6)]
)
def test_a_kill_at_any_call_loses_and_doubles_nothing(
    tmp_path: Path, form: str, compress: str, step: int
) -> None:
    """A run that writes, rotates and compresses a few times; its successor is killed, too."""
    command = [sys.executable, "-m", "tests.log_sweep", str(tmp_path), form, compress, str(step)]
    swept = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert swept.returncode == 0, swept.stderr[-3000:]
    assert int(swept.stdout) > 50
