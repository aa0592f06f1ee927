"""Temp directories of workers: each its own, there as long as it lives, and not much longer."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.doctor.accumulators import Accumulator, accumulators
from tests.crash.app_harness import App, eventually
from tests.crash.running_app import kill, service

OWN = ("own.0", "own.1", "program.0", "inner/own.0")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """One run, and the directory that one of its children has chosen."""
    with running(tmp_path) as app:
        yield app.up()


def running(tmp_path: Path) -> App:
    """Make a run of the app."""
    (tmp_path / "chosen").mkdir(exist_ok=True)
    env = {"CHOSEN": str(tmp_path / "chosen")}
    return App("temporary:tree", tmp_path, env=env)


def temp(app: App, slot: str, life: int = 1) -> Path:
    """Return the temp directory that a slot's process has said to have."""
    said = app.said(f"temporary/{slot}", life - 1).split()[1:]
    assert len(set(said)) == 1, "tempfile and TMPDIR agree"
    return Path(said[0])


def run_janitor(app: App) -> None:
    """Have its first turn come again: a second after its start."""
    kill(service(app, "janitor"))


def test_each_worker_has_one_of_its_own_unless_it_says_otherwise(app: App, tmp_path: Path) -> None:
    """Python or a program, of root's or a nested supervisor; opted out, or chosen by the author."""
    own = [temp(app, slot) for slot in OWN]
    assert len(set(own)) == 4
    assert len({path.parent for path in own}) == 1
    assert {path.stat().st_mode & 0o777 for path in own} == {0o700}
    assert temp(app, "chosen.0") == tmp_path / "chosen"
    assert app.said("temporary/systems.0") == f"temp None {tempfile.gettempdir()}"


def test_the_dead_ones_are_removed_and_those_of_the_living_are_not(app: App) -> None:
    """A SIGKILL leaves files behind; the janitor takes them, and doctor counts what there is."""
    own = [temp(app, slot) for slot in OWN]
    victim = app.worker("temporary/own.0").pid
    kill(victim)
    successor = temp(app, "own.0", 2)
    assert own[0].exists()
    run_janitor(app)
    eventually(lambda: not own[0].exists(), "removed")
    assert all(path.exists() for path in (successor, *own[1:]))

    eventually(lambda: {"temp directories", "core files"} <= rows(app).keys(), "both have run")
    row = rows(app)["temp directories"]
    assert row.recycler == "janitor"
    assert row.note.endswith(" removed so far")
    assert row.size is not None
    assert row.size >= 3 * 100_000
    assert rows(app)["core files"].limit == 1 << 30
    one_childs = rows(app)["temp files of temporary/own"]
    assert (one_childs.limit, one_childs.size) == (None, 100_000)
    assert "temp files of temporary/systems" not in rows(app)


def rows(app: App) -> dict[str, Accumulator]:
    """Return what doctor lists."""
    directory = os.path.dirname(app.socket)
    return {one.name: one for one in accumulators(app.snapshot(), directory)}


def test_a_worker_with_too_much_in_it_is_recycled(tmp_path: Path) -> None:
    """Its successor is ready first, the directory goes with it; doctor shows size and limit."""
    with App("temporary:hoarding", tmp_path, env={"CHOSEN": str(tmp_path)}) as app:
        other = app.up().ready("hoarding/unlimited.0").pid
        hoard = Path(app.said("hoarding/hoarder.0").split()[1]) / "hoard"
        record = app.wait_for(event="recycle", child="hoarding/hoarder.0")
        assert record["why"] == "temp"
        after = app.wait_worker("hoarding/hoarder.0", lambda w: w.recycles == 1 and not w.recycling)
        assert (after.restarts, after.capacity_lost) == (0, 0.0)
        run_janitor(app)
        eventually(lambda: not hoard.exists(), "removed")
        row = eventually(lambda: rows(app).get("temp files of hoarding/hoarder"), "a row")
        assert row is not None
        assert (row.recycler, row.size, row.limit) == ("arbiter: recycle", 100_000, 1 << 20)
        assert app.worker("hoarding/unlimited.0").pid == other
        assert app.stop() == 0


def test_what_an_earlier_run_has_left_is_found_at_the_start(tmp_path: Path) -> None:
    """Root and all its processes are killed; the next run removes what was theirs."""
    with running(tmp_path) as first:
        first.up()
        before = [temp(first, slot) for slot in OWN]
        first.process.kill()
        first.process.wait()
        assert all(path.exists() for path in before)
    with running(tmp_path) as second:
        second.up()
        after = [temp(second, slot) for slot in OWN]
        eventually(lambda: not any(path.exists() for path in before), "removed")
        assert all(path.exists() for path in after)
