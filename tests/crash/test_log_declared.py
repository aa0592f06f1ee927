"""Logs as the tree declares them, and as the user says otherwise."""

import os
from pathlib import Path

from supervisor.logs import place
from supervisor.logs.figures import FIGURES
from tests.crash.app_harness import App, eventually


def said(app: App) -> list[str]:
    """Return what the worker has logged, once it has said all."""
    app.wait_for(path="quiet/talk.0", event="said at 30")
    return [record["event"] for record in app.find(path="quiet/talk.0", logger="talk")]


def test_what_is_declared_holds(tmp_path: Path) -> None:
    """Directory, budget and level of the tree, in every process; no option was given."""
    directory = tmp_path / "declared"
    with App("quiet_logs:tree", tmp_path, env={"LOGS": str(directory)}) as app:
        assert said(app) == ["said at 30"]
        runtime = os.path.dirname(app.socket)
        assert place.pointed(runtime) == str(directory)
        figures = eventually(lambda: FIGURES.read(runtime), "figures")
        assert figures is not None
        assert figures.budget == 4 << 20
        assert "said at 30" in (directory / "quiet" / "talk" / "current.jsonl").read_text()


def test_options_go_before_it(tmp_path: Path) -> None:
    """Each by itself: the level and the directory that were said, the budget that was declared."""
    options = ("--log-level", "debug", "--logs", str(tmp_path / "said"))
    with App("quiet_logs:tree", tmp_path, *options, env={"LOGS": str(tmp_path / "d")}) as app:
        assert said(app) == ["said at 10", "said at 20", "said at 30"]
        figures = eventually(lambda: FIGURES.read(os.path.dirname(app.socket)), "figures")
        assert figures is not None
        assert figures.budget == 4 << 20
        assert (tmp_path / "said" / "quiet" / "talk" / "current.jsonl").exists()
        assert not (tmp_path / "d").exists()


def test_a_place_that_cannot_be_used_is_said_before_anything_is_started(tmp_path: Path) -> None:
    """A file where the directory should be below: exit code 78, and no worker."""
    (tmp_path / "file").touch()
    with App("quiet_logs:tree", tmp_path, env={"LOGS": str(tmp_path / "file" / "logs")}) as app:
        assert app.process.wait(15) == 78
    assert "logs cannot be kept" in app.errors
    assert app.find(path="quiet/talk.0") == []
