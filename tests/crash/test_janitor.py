"""The janitor runs what keeps an app tidy, and survives all of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.janitor.journal import JOURNAL, Entry
from tests.crash.app_harness import App, alive, eventually
from tests.crash.running_app import kill, service


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """An app whose directory of uploads has five files."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    for number in range(5):
        (uploads / str(number)).write_bytes(b"x" * 10)
        os.utime(uploads / str(number), (1000 + number, 1000 + number))
    with App("untidy:tree", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        yield app.up()


def journal(app: App, *names: str) -> dict[str, Entry]:
    """Wait until these recyclers have run."""

    def look() -> dict[str, Entry] | None:
        found = JOURNAL.read(os.path.dirname(app.socket)) or {}
        return found if all(name in found for name in names) else None

    found = eventually(look, f"runs of {names}")
    assert found is not None
    return found


def test_every_recycler_is_run_and_reported(app: App, tmp_path: Path) -> None:
    """Directories are swept, functions called; one that fails, dies or hangs is named."""
    found = journal(app, "uploads", "old-rows", "hanging", "broken", "dies")
    assert sorted(path.name for path in (tmp_path / "uploads").iterdir()) == ["3", "4"]
    assert (found["uploads"].removed, found["uploads"].removed_bytes) == (3, 30)
    assert (found["uploads"].files, found["uploads"].size) == (2, 20)
    assert found["old-rows"].removed >= 3
    assert found["hanging"].problem == "killed: it took longer than its deadline of 0.5 s"
    assert found["broken"].problem == "LookupError: no table"
    assert found["dies"].problem == "it died: -6"
    pids = [int(word) for word in (tmp_path / "hanging").read_text().split()]
    eventually(lambda: not any(alive(pid) for pid in pids), "the hanging run is gone")
    app.wait_for(path="runtime/janitor", event="recycler failed", recycler="broken")
    assert app.worker("untidy/quiet.0").restarts == 0
    eventually(lambda: journal(app)["old-rows"].runs >= 3, "runs again and again")


def test_a_killed_janitor_is_restarted_and_goes_on(app: App, tmp_path: Path) -> None:
    """It is a service like the others: its death costs a turn, nothing else."""
    journal(app, "uploads")
    kill(service(app, "janitor"))
    for name in ("6", "7", "8"):
        (tmp_path / "uploads" / name).touch()
    eventually(lambda: len(list((tmp_path / "uploads").iterdir())) == 2, "swept by its successor")
