"""A reload: new code and config without a gap; what cannot be loaded changes nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervisor.control.errors import CommandFailed
from supervisor.control.messages import RecycleChildren, Reload, Scale
from supervisor.observe import judge
from tests.crash.app_harness import PATIENCE, App, eventually, workers
from tests.crash.brisk_app import BRISK
from tests.crash.running_app import (
    await_death,
    family,
    service,
    supervisor_at,
    templates,
)

HEAD = """
import signal
from supervisor import Child, Supervisor

def live(word="none"):
    print("{line}", word, flush=True)
    while True:
        signal.pause()
"""

FIRST = (
    HEAD
    + """
tree = Supervisor("app", intensity=0, children=[
    Child("web", live, count=3),
    Child("gone", live),
    Child("program", command=["sleep", "1000"]),
    Supervisor("inner", [Child("deep", live), Child("fresh", live, preload=False)], intensity=0),
])
"""
)

SECOND = (
    HEAD
    + """
from supervisor import recycle

@recycle(every=3600)
def old_rows():
    pass

tree = Supervisor("app", strategy="rest_for_one", intensity=7, children=[
    Child("new", live, count=2),
    Child("web", live, args=("argued",), count=4),
    Child("program", command=["sleep", "1000"]),
    Supervisor("inner", [Child("deep", live, count=2), Child("fresh", live, preload=False)],
        intensity=0),
    Supervisor("other", [Child("leaf", live)], intensity=0),
], recyclers=[old_rows])
"""
)
#: Seconds that a reload with its soaks may take.
LONG = 60.0


class Edited(App):
    """An app whose source the test writes."""

    def __init__(self, source: str, directory: Path, *options: str, **popen: Any) -> None:
        self.source = directory / "edited.py"
        self.write(source)
        named = {"cwd": directory, "wrapper": BRISK, **popen}
        super().__init__("edited:tree", directory, *options, **named)

    def write(self, source: str, line: str = "first") -> None:
        """Write a version of it."""
        self.source.write_text(source.replace("{line}", line))

    def pids(self) -> dict[str, int | None]:
        """Return the process of each slot."""
        return {worker.path: worker.pid for worker in workers(self.snapshot().tree)}

    def supervisor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command line."""
        return subprocess.run(
            [sys.executable, "-m", "supervisor.cli.main", *arguments],
            env={**os.environ, "SUPERVISOR_RUNTIME_DIR": str(self.runtime)},
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )


class Watch:
    """Looks again and again for the fewest ready workers of a child."""

    def __init__(self, app: App, path: str) -> None:
        self._app, self._path = app, path
        self._over = threading.Event()
        self.looks, self.fewest, self.reloading = 0, 1_000, False
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _look(self) -> None:
        while not self._over.wait(0.02):
            seen = self._app.snapshot()
            self.reloading = self.reloading or seen.reloading
            ready = [one.ready for one in judge.children(seen.tree) if one.path == self._path]
            self.looks, self.fewest = self.looks + 1, min([self.fewest, *ready])


def test_a_reload_brings_the_tree_to_what_is_declared_now(tmp_path: Path) -> None:
    """Code, args, counts, flags, children and supervisors; programs stay; never fewer ready."""
    with Edited(FIRST, tmp_path) as app:
        before = app.up().pids()
        old_template, arbiter = templates(app)[1], service(app, "arbiter")
        app.write(SECOND, "second")
        with Watch(app, "app/web") as web:
            app.ask(Reload())
        assert web.looks > 10
        assert web.fewest == 3
        assert web.reloading
        assert not app.snapshot().reloading
        after = app.pids()
        assert sorted(after) == [
            *("app/inner/deep.0", "app/inner/deep.1", "app/inner/fresh.0"),
            *("app/new.0", "app/new.1", "app/other/leaf.0", "app/program.0"),
            *(f"app/web.{n}" for n in range(4)),
        ]
        assert all(after.values())
        kept = [path for path in before.keys() & after.keys() if before[path] == after[path]]
        assert kept == ["app/program.0"]
        assert app.said("app/web.0", 1) == "second argued"
        assert app.said("app/web.3") == "second argued"
        assert app.said("app/inner/fresh.0", 1) == "second none"
        root, inner = supervisor_at(app, "app"), supervisor_at(app, "app/inner")
        assert (root.strategy, root.intensity) == ("rest_for_one", 7)
        assert inner.generation == 1
        assert not app.find(event="child terminated")
        assert service(app, "arbiter") != arbiter  # it is told of the limits when it starts
        janitor = service(app, "janitor")
        assert await_death(old_template)
        assert len(templates(app)) == 2
        app.write(FIRST, "third")
        app.ask(Reload())
        assert app.pids().keys() == before.keys()
        assert service(app, "janitor") != janitor
        assert app.said("app/gone.0", 1) == "third none"
        assert app.stop() == 0
        assert not family(app)


def test_a_reload_of_what_has_not_changed_replaces_nothing(tmp_path: Path) -> None:
    """It says so; --all replaces all the same, and what was scaled keeps its slots."""
    with Edited(FIRST, tmp_path) as app:
        app.up()
        app.ask(Scale("app/web", 1))
        app.ask(Scale("app/gone", 0))
        before = app.pids()
        assert "nothing has changed" in app.ask(Reload()).message
        assert app.pids() == before
        done = app.supervisor("reload", "--all", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["failed"] == {}
        after = app.pids()
        assert after.keys() == before.keys()
        changed = {path for path in before if before[path] != after[path]}
        assert changed == set(before) - {"app/program.0"}
        app.ask(Scale("app/gone", 1))
        app.ready("app/gone.0")
        assert app.stop() == 0


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    """One app for all that is refused: nothing of it may change, whatever was tried before."""
    with Edited(FIRST, tmp_path_factory.mktemp("r")) as app:
        yield app.up()
        assert app.stop() == 0
        assert not family(app)


@pytest.mark.parametrize(
    ("source", "problem", "place"),
    [
        ("def broken(:\n", "syntax", "edited.py:1"),
        ("import no_such_module_at_all\n", "no_such_module_at_all", "edited.py:1"),
        (HEAD + 'tree = Supervisor("app", [Child("a", live), Child("a", live)])\n', '"a"', ":9"),
        (HEAD + 'tree = Supervisor("app", [Child("a", live, count="x")])\n', "count", ":9"),
        (HEAD + 'tree = Supervisor("renamed", [Child("a", live)])\n', '"renamed"', ""),
        (
            HEAD + "from supervisor import Queue\n"
            'tree = Supervisor("app", [Child("a", live)], queues=[Queue("q")])\n',
            "queues differ (q)",
            "",
        ),
        (
            HEAD + "from supervisor import Logs\n"
            'tree = Supervisor("app", [Child("a", live)], logs=Logs(max_use="9MiB"))\n',
            "how its logs are kept differs",
            "",
        ),
    ],
)
def test_an_app_that_cannot_take_over_changes_nothing(
    steady: Edited, source: str, problem: str, place: str
) -> None:
    """Exit 78 with the error and its place; the tree runs on, and can be reloaded once mended."""
    app, before = steady, steady.pids()
    eventually(lambda: len(templates(app)) == 2, "nobody's template is left")
    running, refused = templates(app), len(app.find(event="not reloaded"))
    app.write(source)
    failed = app.supervisor("reload")
    assert failed.returncode == 78
    assert problem in failed.stderr
    assert place in failed.stderr
    assert "Traceback" not in failed.stderr
    [record] = app.wait_until(lambda: app.find(event="not reloaded")[refused:], "it is said")
    assert record["problem"]
    assert app.pids() == before
    eventually(lambda: templates(app) == running, "the refused template has ended")
    app.write(FIRST)
    assert "nothing has changed" in app.ask(Reload()).message
    assert app.pids() == before


def test_new_code_that_does_not_start_leaves_the_old_in_place(tmp_path: Path) -> None:
    """The first that fails ends the reload: exit 5 says which; the next one goes on from there."""
    with Edited(FIRST, tmp_path) as app:
        before = app.up().pids()
        app.write(FIRST.replace("while True:", "raise SystemExit(3)\n    while True:"), "second")
        failed = app.supervisor("reload")
        assert failed.returncode == 5, failed.stderr
        assert "app/web.0" in failed.stderr
        assert app.pids() == before
        app.write(FIRST, "third")
        app.ask(Reload())
        after = app.pids()
        assert [path for path in before if before[path] == after[path]] == ["app/program.0"]
        assert not app.find(event="child terminated")
        assert app.stop() == 0


STARVED = """
import os, resource
least = len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(resource.RLIMIT_NOFILE, (least, least))
"""


def test_a_new_template_that_supervisors_cannot_reach_ends_the_reload(tmp_path: Path) -> None:
    """It has no descriptors left: exit 5 and which supervisor; the next reload reaches it."""
    nested = HEAD + 'tree = Supervisor("app", [Supervisor("inner", [Child("deep", live)])])\n'
    with Edited(nested, tmp_path) as app:
        before = app.up().pids()
        app.write(nested + STARVED, "second")
        failed = app.supervisor("reload")
        assert failed.returncode == 5, failed.stderr
        assert "app/inner: no connection" in failed.stderr
        assert app.pids() == before
        app.write(nested, "third")
        app.ask(Reload())
        assert app.said("app/inner/deep.0", 1) == "third none"
        assert app.stop() == 0


SERVER = """
import signal, socket
from supervisor import Child, Supervisor

def serve():
    with socket.create_server(("127.0.0.1", PORT)):
        print("{line}", flush=True)
        signal.pause()

tree = Supervisor("app", [Child("server", serve, ready="tcp:PORT")], intensity=0)
"""


def test_who_owns_a_port_is_stopped_before_its_successor_starts(tmp_path: Path) -> None:
    """Two at a time could not bind it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        source = SERVER.replace("PORT", str(free.getsockname()[1]))
    with Edited(source, tmp_path) as app:
        app.up()
        app.write(source, "second")
        app.ask(Reload())
        assert app.said("app/server.0", 1) == "second"
        assert app.ready("app/server.0").restarts == 0
        assert app.stop() == 0


def last_said(app: App, path: str, line: str) -> bool:
    """Tell whether a line is the last one that a slot has printed."""
    lines = [record["event"] for record in app.find(path=path, raw=True)]
    return lines[-1:] == [line]


def test_reloads_meet_reloads_recycles_and_deaths(tmp_path: Path) -> None:
    """Four at a time with a recycle under way and workers killed: one after the other, all done."""
    source = FIRST.replace("intensity=0", "intensity=1000")
    with Edited(source, tmp_path) as app:
        app.up()
        with ThreadPoolExecutor(6) as asking:
            recycling = asking.submit(app.ask, RecycleChildren("app/web"))
            app.wait_for(event="recycling")
            app.write(source, "second")
            reloads = [asking.submit(app.ask, Reload()) for _ in range(4)]
            for path in ("app/web.1", "app/inner/deep.0"):
                pid = app.wait_worker(path, lambda worker: worker.pid).pid
                assert pid is not None
                with suppress(ProcessLookupError):  # it may just have been replaced
                    os.kill(pid, signal.SIGKILL)
            for one in reloads:
                one.result(LONG)
            with suppress(CommandFailed):  # the worker that was to be recycled may have died
                recycling.result(LONG)
        for path in app.pids():
            if path != "app/program.0":
                app.ready(path)
                app.wait_until(partial(last_said, app, path, "second none"), path)
        app.wait_until(lambda: len(app.find(event="reloaded")) == 2, "one, and one for the others")
        assert app.stop() == 0
        assert not family(app)


def test_a_stop_ends_a_reload(tmp_path: Path) -> None:
    """While the new code is being imported, and while workers are replaced: exit 0, all gone."""
    slow = "import time\ntime.sleep(1000)\n"
    for source, event in ((slow + FIRST, "recycling template"), (FIRST, "recycling")):
        with Edited(FIRST, tmp_path, start_new_session=True) as app:
            app.up()
            app.write(source, "second")
            app.process.send_signal(signal.SIGHUP)
            app.wait_for(event=event)
            assert app.stop() == 0
            assert not family(app)


def test_a_hang_up_without_a_terminal_reloads(tmp_path: Path) -> None:
    """SIGHUP to a root that no terminal controls."""
    with Edited(FIRST, tmp_path, start_new_session=True) as app:
        app.up()
        app.write(FIRST, "second")
        app.process.send_signal(signal.SIGHUP)
        assert app.said("app/web.0", 1) == "second none"
        app.wait_for(event="reloaded", patience=LONG)
        app.write("def broken(:\n")
        app.process.send_signal(signal.SIGHUP)
        assert app.wait_for(event="not reloaded")["where"]
        assert app.stop() == 0
