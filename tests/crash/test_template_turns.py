"""Another template takes over from one that has grown; running workers are not touched."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.control.messages import RecycleChildren, RecycleTemplate
from supervisor.observe.snapshot import TemplateStatus, WorkerStatus
from tests.crash.app_harness import APPS, App, eventually, workers
from tests.crash.brisk_app import Brisk
from tests.crash.running_app import await_death

STILL = ("growing/still.0", "growing/still.1", "growing/inner/deep.0")
VICTIM = "growing/victim.0"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """A running app, from a copy of its source."""
    shutil.copy(APPS / "growing.py", tmp_path)
    with Brisk("growing:tree", tmp_path, env={"MARKS": str(tmp_path)}, cwd=tmp_path) as app:
        app.up()
        for path in (VICTIM, *STILL):
            app.ready(path)
        yield app


def parent(pid: int | None) -> int:
    """Return the parent of a process."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def serving(app: App) -> TemplateStatus:
    """Return the template that makes new starts."""
    return next(one for one in app.snapshot().templates if one.state == "serving")


def kill(app: App, path: str) -> WorkerStatus:
    """Kill a worker; returns the one that is started in its place."""
    old = app.ready(path)
    assert old.pid is not None
    os.kill(old.pid, signal.SIGKILL)
    return app.wait_worker(path, lambda one: one.pid not in (None, old.pid) and one.ready_at)


def standing(app: App) -> dict[str, tuple[int | None, int]]:
    """Return pid and restarts of those that nobody touches."""
    return {one.path: (one.pid, one.restarts) for one in workers(app.snapshot().tree)
            if one.path in STILL}  # fmt: skip


def taken_over(app: App, old: TemplateStatus) -> TemplateStatus:
    """Have another template take over, and wait for it."""
    app.ask(RecycleTemplate())
    eventually(lambda: serving(app).pid != old.pid, "another template")
    return serving(app)


def test_a_template_that_grows_is_replaced_under_running_workers(app: App, tmp_path: Path) -> None:
    """It lingers as their parent, forks nothing more, and ends with the last of them."""
    old, before = serving(app), standing(app)
    (tmp_path / "leak").touch()

    def replaced() -> bool:
        kill(app, VICTIM)  # each restart forks a spare, and each fork leaks
        return serving(app).pid != old.pid

    eventually(replaced, "another template", 40.0)
    (tmp_path / "leak").unlink()
    app.wait_for(event="recycling template", cause="grown")
    new = serving(app)
    assert parent(kill(app, VICTIM).pid) == new.pid
    assert parent(kill(app, STILL[2]).pid) == new.pid, "a nested supervisor has to follow"
    now = standing(app)
    assert [now[path] for path in STILL[:2]] == [before[path] for path in STILL[:2]]
    assert [parent(now[path][0]) for path in STILL[:2]] == [old.pid, old.pid]
    [lingering] = [one for one in app.snapshot().templates if one.state == "lingering"]
    assert (lingering.pid, lingering.processes) == (old.pid, 2)
    app.ask(RecycleChildren("still"))
    assert await_death(old.pid)
    eventually(lambda: len(app.snapshot().templates) == 1, "reaped")
    assert {parent(app.ready(path).pid) for path in STILL} == {new.pid}
    assert app.worker(STILL[0]).restarts == 0


def test_a_lingering_template_that_dies_takes_its_workers_along(app: App) -> None:
    """They are restarted by the one that serves, as after the death of any template."""
    old, before = serving(app), standing(app)
    new = taken_over(app, old)
    assert standing(app) == before
    os.kill(old.pid, signal.SIGKILL)
    for path in STILL:
        pid = before[path][0]
        app.wait_worker(path, lambda one, pid=pid: one.pid not in (None, pid) and one.ready_at)  # type: ignore[misc]
    eventually(lambda: len(app.snapshot().templates) == 1, "reaped")
    assert serving(app).pid == new.pid
    assert {parent(app.ready(path).pid) for path in (VICTIM, *STILL)} == {new.pid}


def test_few_templates_linger(app: App) -> None:
    """While the workers of two earlier ones live, there is not a third; then there is."""
    first = serving(app)
    second = taken_over(app, first)
    kill(app, STILL[0])
    third = taken_over(app, second)
    kill(app, VICTIM)
    with pytest.raises(Exception, match="2 earlier ones still have workers"):
        app.ask(RecycleTemplate())
    kill(app, STILL[0])  # the only one that the second has forked
    assert await_death(second.pid)
    eventually(lambda: len(app.snapshot().templates) == 2, "reaped")
    taken_over(app, third)


def breaks(directory: Path) -> None:
    """Have the app not load any more."""
    (directory / "broken").touch()


def changes(directory: Path) -> None:
    """Have another version of the app on disk."""
    with (directory / "growing.py").open("a") as source:
        source.write("\nVERSION = 2\n")


@pytest.mark.parametrize(
    ("harm", "problem"), [(breaks, "it does not load"), (changes, "a recycle deploys nothing")]
)
def test_a_template_that_cannot_be_replaced_serves_on(
    app: App, tmp_path: Path, harm: Callable[[Path], None], problem: str
) -> None:
    """The successor is given up and ends; nobody is touched, restarts go on as before."""
    old, before = serving(app), standing(app)
    harm(tmp_path)
    app.ask(RecycleTemplate())
    record = app.wait_for(event="template not recycled")
    assert problem in record["problem"]
    assert await_death(app.wait_for(event="recycling template")["successor"])
    eventually(lambda: len(app.snapshot().templates) == 1, "reaped")
    assert (serving(app).pid, standing(app)) == (old.pid, before)
    assert parent(kill(app, VICTIM).pid) == old.pid


def test_an_app_stops_in_order_while_a_template_lingers(app: App) -> None:
    """Nothing of either template is left."""
    old = serving(app)
    new = taken_over(app, old)
    assert app.stop() == 0
    assert await_death(old.pid)
    assert await_death(new.pid)
