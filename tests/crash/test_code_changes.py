"""Code that changes on disk while an app runs: those that run do not mind, new ones say so."""

import os
import signal
from pathlib import Path

import pytest

from supervisor.control.messages import RestartChildren
from tests.crash.app_harness import App
from tests.crash.running_app import restarted, templates

APP = """
import os, signal
from supervisor import Child, Supervisor

def live():
    print({line!r}, flush=True)
    while True:
        signal.pause()

tree = Supervisor("changing", intensity=1000, children=[
    Child("shared", live),
    Child("fresh", live, preload=False),
    Supervisor("inner", [Child("deep", live, preload=False)]),
])
"""


@pytest.fixture
def app_file(tmp_path: Path) -> Path:
    """The first version of an app."""
    path = tmp_path / "changing.py"
    path.write_text(APP.format(line="first"))
    return path


def test_a_new_start_of_changed_code_says_what_changed(app_file: Path) -> None:
    """preload=False: old and new version in the log, of a nested child too; others go on."""
    with App("changing:tree", app_file.parent, cwd=app_file.parent) as app:
        assert app.up().said("changing/fresh.0") == "first"
        assert not app.find(event="code on disk has changed")
        shared = app.ready("changing/shared.0").pid
        app_file.write_text(APP.format(line="second"))
        app.ask(RestartChildren("changing/fresh"))
        told = app.wait_for(event="code on disk has changed", path="changing/fresh.0")
        assert told["old"] != told["new"]
        assert app.said("changing/fresh.0", 1) == "second"
        app.ask(RestartChildren("changing/inner/deep"))
        deep = app.wait_for(event="code on disk has changed", path="changing/inner/deep.0")
        assert (deep["old"], deep["new"]) == (told["old"], told["new"])
        assert app.ready("changing/shared.0").pid == shared
        assert app.stop() == 0


def test_changed_code_that_does_not_load_fails_the_start_alone(app_file: Path) -> None:
    """A syntax error: a failed start with its place; mended, it starts; others go on."""
    with App("changing:tree", app_file.parent, cwd=app_file.parent) as app:
        shared = app.up().ready("changing/shared.0").pid
        fresh = app.ready("changing/fresh.0").pid
        assert fresh is not None
        app_file.write_text("def broken(:\n")
        os.kill(fresh, signal.SIGKILL)
        failed = app.wait_for(event="child failed to start", offender="fresh.0")
        assert failed["cause"] == "exception:StartError"
        app_file.write_text(APP.format(line="mended"))
        app.ready("changing/fresh.0")
        assert app.said("changing/shared.0") == "first"
        assert app.ready("changing/shared.0").pid == shared
        assert app.stop() == 0


def test_a_template_that_is_replaced_says_what_changed(app_file: Path) -> None:
    """The next template imports what is on disk now; root logs both versions, and all follow."""
    with App("changing:tree", app_file.parent, cwd=app_file.parent) as app:
        app.up().said("changing/shared.0")
        app_file.write_text(APP.format(line="second"))
        os.kill(templates(app)[1], signal.SIGKILL)
        told = app.wait_for(event="code on disk has changed", path="root")
        assert told["old"] != told["new"]
        assert app.said("changing/shared.0", 1) == "second"
        # What is imported afresh is compared with the version that runs now.
        for child in ("changing/fresh", "changing/inner/deep"):
            app.ask(RestartChildren(child))
        restarted(app, "changing/inner", 1)
        assert app.stop() == 0
    assert len(app.find(event="code on disk has changed")) == 1
