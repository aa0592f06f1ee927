"""`supervisor crashes` on a real app, running and ended."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.recycling.leaks import LeakReport, Leaks, Life
from tests.crash.app_harness import App, eventually


def cli(app: App | None, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the CLI, about this app."""
    environment = {**os.environ, **env}
    if app is not None:
        environment["SUPERVISOR_RUNTIME_DIR"] = str(app.runtime)
    return subprocess.run(
        [sys.executable, "-m", "supervisor.cli.main", *arguments],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def listed(app: App | None, *arguments: str, **env: str) -> dict[str, dict[str, Any]]:
    """List reports by path."""
    done = cli(app, "crashes", "--json", *arguments, **env)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "supervisor.crashes/1"
    return {one["path"]: one for one in document["reports"]}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app five of whose children have died."""
    directory = tmp_path_factory.mktemp("c")
    options = "--state", str(directory / "state"), "--health", "127.0.0.1:0"
    with App("dying:tree", directory, *options) as app:
        app.up()
        eventually(lambda: len(listed(app)) == 5, "all have their reports")
        yield app
        assert app.stop() == 0


def test_it_lists_and_shows_them(app: App) -> None:
    """A line each, with the id that shows it; a traceback as it was, a headline first."""
    text = cli(app, "crashes").stdout
    assert text.startswith("TIME ")
    for path, one in listed(app).items():
        row = next(row for row in text.splitlines() if f" {path} " in row)
        assert re.search(rf"Z +{one['id']} +{path} +{one['cause']} +1 of 1 +\w+\[0\] pid", row)
    shown = cli(app, "crashes", "show", listed(app)["dying/raises.0"]["id"]).stdout
    assert shown.startswith("raises[0] pid ")
    assert "LookupError:  cannot log in as <DB_PASSWORD>" in shown
    assert 'raise LookupError(f"' in shown
    stacks = cli(app, "crashes", "show", listed(app)["dying/segv.0"]["id"]).stdout
    assert "Segmentation fault" in stacks


def test_nothing_in_them_can_move_the_cursor(app: App) -> None:
    """What a worker says may be anything: as text it is cleaned, as JSON it is escaped."""
    raised = listed(app)["dying/raises.0"]["id"]
    for arguments in (
        ["crashes"],
        ["crashes", "show", raised],
        ["crashes", "show", raised, "--json"],
    ):
        done = cli(app, *arguments)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout
    document = json.loads(cli(app, "crashes", "show", raised, "--json").stdout)
    assert document["message"] == "\x1b[2J cannot log in as <DB_PASSWORD>"
    assert document["schema"] == "supervisor.crash/1"


def test_an_unknown_id_is_an_error_that_says_what_to_do(app: App) -> None:
    """Exit code 4, as for any name that there is not."""
    done = cli(app, "crashes", "show", "cr-00000000")
    assert (done.returncode, done.stdout) == (4, "")
    assert 'there is no crash report "cr-00000000"' in done.stderr
    assert "supervisor crashes" in done.stderr
    as_json = cli(app, "crashes", "show", "../lock", "--json")
    assert json.loads(as_json.stdout)["error"]["code"] == "no-such-report"


def test_status_and_health_name_them(app: App) -> None:
    """The last exit of a slot has the id of its report; without one it is null."""
    ids = {path: one["id"] for path, one in listed(app).items()}
    tree = json.loads(cli(app, "status", "--json").stdout)["snapshot"]["tree"]
    ends = {w["path"]: w["last_exit"] for c in tree["children"] for w in c["workers"]}
    assert ends["dying/segv.0"]["crash_report"] == ids["dying/segv.0"]
    assert ends["dying/returns.0"]["crash_report"] is None
    drawn = json.loads(cli(app, "tree", "--json").stdout)["tree"]
    assert drawn["children"][0]["workers"][0]["last_exit"] == ends["dying/segv.0"]
    with urllib.request.urlopen(f"http://{app.snapshot().health_address}/healthz") as reply:
        document = json.load(reply)
    found = {w["last_exit"]["crash_report"] for c in document["supervisor"]["tree"]["children"]
             for w in c["workers"] if w["last_exit"]}  # fmt: skip
    assert ids["dying/segv.0"] in found
    assert document["supervisor"]["crashes"]["kept"] == 5
    assert document["supervisor"]["crashes"]["skipped"] == 0
    assert document["checks"]["crashes:reports"][0]["status"] == "pass"


def test_those_of_an_app_that_has_ended_are_found(tmp_path: Path) -> None:
    """By its runtime directory, its name, or its state directory; else it is said what to do."""
    env = {"XDG_STATE_HOME": str(tmp_path / "home")}
    with App("dying:tree", tmp_path, "--name", "gone", env=env) as app:
        app.up()
        eventually(lambda: len(listed(app)) == 5, "all have their reports")
        assert app.stop() == 0
    state = str(tmp_path / "home" / "letitcrash" / "gone")
    elsewhere = {**env, "XDG_RUNTIME_DIR": str(tmp_path)}
    assert len(listed(app)) == 5
    assert len(listed(None, "--name", "gone", **elsewhere)) == 5
    assert len(listed(None, "--state", state, **elsewhere)) == 5
    first = next(iter(listed(app).values()))["id"]
    assert cli(None, "crashes", "show", first, "--name", "gone", **elsewhere).returncode == 0
    for wrong in (["--name", "never"], []):
        done = cli(None, "crashes", *wrong, **elsewhere)
        assert done.returncode == 3
        assert "--state DIR" in done.stderr
    assert (
        cli(None, "crashes", "--state", str(tmp_path / "no"), **env).stdout == "no crash reports\n"
    )


def test_reports_of_leaks_are_listed_and_shown_too(tmp_path: Path) -> None:
    """Their id is the name of their file."""
    life = Life(3, "soft", 50.0, 9 << 20, 1 << 20, 10.0, None, 0, 9, 2)
    Leaks(str(tmp_path))._report(LeakReport("app/web.0", 1_795_300_000.5, 60.0, [life]))
    found = cli(None, "crashes", "--state", str(tmp_path))
    assert "leak-app-web.0-1795300000  app/web.0  leak" in found.stdout
    shown = cli(None, "crashes", "show", "leak-app-web.0-1795300000", "--state", str(tmp_path))
    assert shown.stdout.startswith("app/web.0 is recycled over and over; held off for 1m")
    assert "9.0 MiB" in shown.stdout


@pytest.mark.parametrize(
    ("tree", "evidence"),
    [
        ("poison:tree", "SIGKILL, not sent by its supervisor"),
        ("poison:raising", "ValueError"),
    ],
)
def test_a_dead_letter_names_the_reports_of_its_crashes(
    tmp_path: Path, tree: str, evidence: str
) -> None:
    """All that are kept of those over its message, whatever has ended the workers."""
    env = {"FED": str(tmp_path / "fed")}
    options = "--state", str(tmp_path / "state"), "--", "1", "-7", "2"
    with App(tree, tmp_path, *options, env=env) as app:
        app.up()

        def look() -> dict[str, Any] | None:
            done = cli(app, "dlq", "show", "numbers", "1", "--json")
            found = json.loads(done.stdout)["letters"] if done.returncode == 0 else []
            if not found or len(found[0]["crash_reports"]) < 6:  # of 8: the first and last three
                return None
            [letter] = found
            last = json.loads(cli(app, "crashes", "show", letter["crash_report"], "--json").stdout)
            over = f"{last['path']}#{last['generation']}", last["pid"]
            return (
                {**letter, "last": last} if over == (letter["worker"], letter["process"]) else None
            )

        letter = eventually(look, "the letter and its reports")
        assert letter is not None
        assert letter["crash_report"] == letter["crash_reports"][-1]
        assert evidence in json.dumps(letter["last"])
        workers = [one for one in listed(app).values() if one["child"] == "poison/worker"]
        newest_first = sorted(workers, key=lambda one: -one["at"])
        assert newest_first[0]["id"] == letter["crash_report"]
        text = cli(app, "dlq", "show", "numbers", "1").stdout
        assert all(f"crashes show {one}" in text for one in letter["crash_reports"])
        assert f"{letter['worker']}, process {letter['process']}" in text
        assert letter["message_id"] in letter["last"]["headline"]
        assert app.stop() == 0
