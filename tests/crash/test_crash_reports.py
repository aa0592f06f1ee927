"""Each death that nobody had planned leaves one report, whatever becomes of the disk it is for."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.control.messages import RecycleChildren, RestartChildren, StopChildren
from supervisor.crashes.register import REGISTER, Register
from supervisor.crashes.shelf import FIRST, LAST
from tests.crash.app_harness import App, crash_reports, eventually
from tests.crash.running_app import kill, run_tree, service, supervisor_at
from tests.crash.test_environment_worlds import unshare

DYING = {"dying/segv.0", "dying/raises.0", "dying/hangs.0", "dying/once.0", "dying/command.0"}


def run(tree: str, directory: Path, *options: str, **more: Any) -> App:
    """Run an app with a state directory of its own."""
    return App(tree, directory, "--state", str(directory / "state"), *options, **more)


def reports(app: App) -> dict[str, dict[str, Any]]:
    """Read the reports by path; of several of a path, the last."""
    found = crash_reports(app.runtime / "crashes")
    return {one["path"]: one for one in sorted(found, key=lambda one: one["at"])}


def reported(app: App, *paths: str) -> dict[str, dict[str, Any]]:
    """Wait for reports of these paths."""

    def look() -> dict[str, dict[str, Any]] | None:
        found = reports(app)
        return found if set(paths) <= set(found) else None

    found = eventually(look, f"reports of {paths}")
    assert found is not None
    return found


def register(app: App) -> Register:
    """Read what the janitor says of reports."""
    return REGISTER.read(str(app.runtime)) or Register(since=0.0)


def serving(app: App, path: str, generation: int) -> int | None:
    """Wait until that process of a slot is ready; returns its pid."""
    return app.wait_worker(path, lambda w: (w.generation, w.state) == (generation, "ready")).pid


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """One run of the tree of all deaths."""
    with run("dying:tree", tmp_path, env={"PLANTED_SECRET": "correct horse"}) as app:
        app.up()
        app.ready("dying/hangs.0")
        yield app
        assert app.stop() == 0


def test_each_unplanned_death_leaves_one_report(app: App) -> None:
    """With what is known of it; and nothing else leaves any: no stop, recycle or orderly end."""
    found = reported(app, *DYING)
    app.ask(RestartChildren("dying/quiet"))
    app.ask(RecycleChildren("dying/quiet.0"))
    app.ask(StopChildren("dying/stubborn"))
    app.wait_for(child="dying/stubborn.0", cause="stop_timeout")
    kill(app.worker("dying/quiet.1").pid)  # what was to be told of those before was told then
    reported(app, "dying/quiet.1")
    assert len(list((app.runtime / "crashes").iterdir())) == len(DYING) + 1
    segv = found["dying/segv.0"]
    assert (segv["signal"], segv["exit_code"], segv["decision"]) == ("SIGSEGV", None, "restart")
    assert "in segv" in segv["stacks"]
    assert segv["where"]["app"] == "dying:tree"
    assert segv["usage"]["max_rss_bytes"] > 1 << 20
    assert segv["headline"] == (
        f"segv[0] pid {segv['pid']} killed by SIGSEGV, 1st crash in 10 min; restart"
    )
    hung = found["dying/hangs.0"]
    assert (hung["cause"], hung["phase"]) == ("heartbeat", "ready")
    assert "in hangs" in hung["stacks"]
    assert hung["evidence"] == ["its supervisor has sent SIGKILL: heartbeat"]
    assert found["dying/once.0"]["decision"] == "no restart: it is temporary"
    assert found["dying/command.0"]["exit_code"] == 5
    version = app.snapshot().templates[0].code
    assert segv["code"] == version != ""


def test_no_value_of_the_environment_is_in_a_report(app: App, tmp_path: Path) -> None:
    """Though an exception quotes one: the variable is named instead."""
    raised = reported(app, *DYING)["dying/raises.0"]
    assert raised["exception"] == "LookupError"
    assert raised["message"] == "\x1b[2J cannot log in as <DB_PASSWORD>"
    assert "in raises" in raised["traceback"]
    for path in (tmp_path / "state" / "crashes").iterdir():
        assert "tr0ub4dor" not in path.read_text()
        assert "correct horse" not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_supervisor_that_gives_up_leaves_one_too(tmp_path: Path) -> None:
    """Beside those of its children; the last of them says that it was not restarted."""
    with run("dying:gives_up", tmp_path) as app:
        app.up()
        found = reported(app, "top/inner/x.0", "top/inner")
        assert "its supervisor gave up" in found["top/inner/x.0"]["decision"]
        assert found["top/inner/x.0"]["recent"] == 3
        assert found["top/inner"]["evidence"] == ["it gave up: reached_max_restart_intensity"]
        assert app.stop() == 0


@pytest.mark.parametrize(
    ("tree", "code", "decisions"),
    [
        ("doomed", 70, ["restart", "no restart: its supervisor gave up"]),
        ("stillborn", 1, ["its start has failed"]),
    ],
)
def test_an_app_that_ends_over_it_has_told_before(
    tmp_path: Path, tree: str, code: int, decisions: list[str]
) -> None:
    """The janitor ends after the tree, and writes down what was said last."""
    with run(f"dying:{tree}", tmp_path) as app:
        assert app.wait() == code
    files = sorted((tmp_path / "state" / "crashes").iterdir())
    found = sorted((json.loads(file.read_text()) for file in files), key=lambda one: one["at"])
    assert [one["decision"].partition(": reached")[0] for one in found] == decisions


def test_killed_supervisors_and_services_leave_one_too(tmp_path: Path) -> None:
    """The janitor's own is written by its successor."""
    with run_tree("nested:tree", tmp_path, "--state", str(tmp_path / "state")) as app:
        app.up()
        kill(supervisor_at(app, "deep/inner").pid)
        found = reported(app, "deep/inner")
        assert found["deep/inner"]["evidence"] == ["SIGKILL, not sent by its supervisor"]
        kill(service(app, "janitor"))
        assert reported(app, "runtime/janitor")["runtime/janitor"]["signal"] == "SIGKILL"
        assert app.stop() == 0


def test_a_crash_loop_costs_next_to_nothing(tmp_path: Path) -> None:
    """Of hundreds of deaths at most six files stay; those left out are counted."""
    with run("dying:looping", tmp_path, "--restart-burst", "100000") as app:
        app.up()
        app.wait_worker("looping/loop.0", lambda w: w.restarts > 300, "300 restarts")
        eventually(lambda: register(app).skipped > 250, "they are counted")
        known, restarts = register(app), app.worker("looping/loop.0").restarts
        assert known.written <= 10 + restarts / 20
        assert known.skipped <= restarts
        assert len(list((app.runtime / "crashes").iterdir())) <= FIRST + LAST
        assert app.stop() == 0


def test_reports_outlive_the_app_and_its_directories(tmp_path: Path) -> None:
    """They are in the state directory; one that is wiped is made anew, and led to."""
    with run("dying:tree", tmp_path) as app:
        app.up()
        reported(app, *DYING)
        assert app.stop() == 0
    before = {path.name for path in (tmp_path / "state" / "crashes").iterdir()}
    assert len(before) == len(DYING)
    with run("dying:tree", tmp_path) as app:
        app.up()
        eventually(lambda: len(reports(app)) and register(app).kept == 2 * len(DYING))
        assert before < {path.name for path in (app.runtime / "crashes").iterdir()}
        assert reports(app)["dying/segv.0"]["count"] == 2
        shutil.rmtree(tmp_path / "state" / "crashes")
        shutil.rmtree(app.runtime)
        app.wait_for(event="runtime directory was wiped and is made anew")
        kill(app.worker("dying/quiet.0").pid)
        assert set(reported(app, "dying/quiet.0")) == {"dying/quiet.0"}
        assert app.stop() == 0


def test_a_disk_that_takes_nothing_costs_nothing_but_the_report(tmp_path: Path) -> None:
    """No report is written: that is counted and told; restarts go on as ever."""
    with run("dying:tree", tmp_path) as app:
        app.up()
        reported(app, *DYING)
        shutil.rmtree(tmp_path / "state" / "crashes")
        (tmp_path / "state" / "crashes").symlink_to("/dev/full")
        for generation in range(2, 5):
            kill(serving(app, "dying/quiet.0", generation - 1))
        serving(app, "dying/quiet.0", 4)
        eventually(lambda: register(app).failed == 3, "they are counted")
        assert (register(app).skipped, bool(register(app).problem)) == (3, True)
        app.wait_for(path="runtime/janitor", event="crash report cannot be written")
        assert app.stop() == 0


def test_a_full_disk_skips_reports_and_nothing_else(tmp_path: Path) -> None:
    """There is room for two of five: the others are counted, no half of one is left."""
    state = tmp_path / "fs"
    state.mkdir()
    script = f'mount -t tmpfs -o size=8k,mode=700 tmpfs {state} && exec "$@"'
    wrapper = (*unshare("--mount"), "sh", "-c", script, "sh")
    with App("dying:tree", tmp_path, "--state", str(state), wrapper=wrapper) as app:
        app.up()
        eventually(lambda: register(app).failed == len(DYING) - 2, "the others are counted")
        told = register(app)
        assert (told.written, told.kept, told.skipped) == (2, 2, len(DYING) - 2)
        assert "No space left" in told.problem
        assert app.ready("dying/segv.0").generation == 2
        inside = f"/proc/{app.process.pid}/root{state}/crashes"
        assert len(list(Path(inside).iterdir())) == 2
        assert app.stop() == 0
