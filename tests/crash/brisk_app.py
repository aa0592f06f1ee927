"""Runs an app whose arbiter looks more often and waits less (see trees/brisk.py)."""

import sys
from pathlib import Path
from typing import Any

from tests.crash.app_harness import App
from tests.crash.running_app import TREES

BRISK = (sys.executable, str(TREES / "brisk.py"))


class Brisk(App):
    """One running app, with an arbiter in a hurry."""

    def __init__(self, tree: str, directory: Path, *options: str, **popen: Any) -> None:
        super().__init__(tree, directory, *options, wrapper=BRISK, **popen)
