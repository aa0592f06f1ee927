"""Root and the runtime's own processes, killed and stopped, in real apps."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from supervisor.observe.snapshot import WorkerStatus
from supervisor.priority import FIRST
from supervisor.process import sample
from tests.crash.app_harness import App, alive, eventually, workers
from tests.crash.running_app import (
    IMPATIENT,
    TREES,
    await_death,
    copies,
    family,
    gone,
    restarted,
    run_tree,
    service,
    supervisor_at,
    templates,
)

#: Processor seconds that the runtime may take for each of them; it takes 0.002 to 0.003.
A_RESTART = 0.02


def pids(app: App) -> dict[str, int | None]:
    """Return the processes of all slots of the tree."""
    return {worker.path: worker.pid for worker in workers(app.snapshot().tree)}


def all_ready(app: App, count: int) -> bool:
    """Whether this many slots are ready."""
    return [w.state for w in workers(app.snapshot().tree)].count("ready") == count


def test_a_killed_root_leaves_nothing_and_the_next_run_works(tmp_path: Path) -> None:
    """SIGKILL of root: within 2 s no descendant lives, escaped ones neither; a new run is clean."""
    for _ in range(2):
        with run_tree("nested:tree", tmp_path) as app:
            restarted(app.up(), "deep/inner/innermost", 1)
            for slot in ("deep/z.0", "deep/inner/b.0", "deep/inner/innermost/c.0"):
                assert len({app.said(slot, line) for line in range(3)}) == 3
            assert len(family(app)) > 15
            app.process.kill()
            gone(app, patience=2.0)
            assert app.wait() == -signal.SIGKILL
            assert copies(app) == []
    assert (app.runtime / "control.sock").exists()
    with run_tree("nested:tree", tmp_path) as app:
        assert app.up().stop() == 0
    assert copies(app) == []


def with_daemons(app: App) -> App:
    """Wait for the tree, and for those that have escaped from its workers."""
    app.up()
    for slot in ("deep/z.0", "deep/inner/b.0", "deep/inner/innermost/c.0"):
        app.said(slot, 2)
    return app


@pytest.mark.parametrize("template", [0, 1])
def test_a_root_killed_together_with_a_template_leaves_nothing(
    tmp_path: Path, template: int
) -> None:
    """The template that is left ends what the other one has forked, daemons too, within 2 s."""
    with run_tree("nested:tree", tmp_path) as app:
        os.kill(templates(with_daemons(app))[template], signal.SIGKILL)
        app.process.kill()
        gone(app, patience=2.0)


def test_what_outlived_all_who_would_have_ended_it_is_ended_by_the_next_run(tmp_path: Path) -> None:
    """Root and both templates killed at once leave daemons: gone when the next run is up."""
    with run_tree("nested:tree", tmp_path) as app:
        for pid in templates(with_daemons(app)):
            os.kill(pid, signal.SIGKILL)
        app.process.kill()
        app.wait()
        left = set(family(app))
        with run_tree("nested:tree", tmp_path) as following:
            following.up()
            assert not left & set(family(following))
            assert copies(following) == []
            assert following.stop() == 0
        gone(app, patience=2.0)


def test_supervisors_go_before_their_workers(tmp_path: Path) -> None:
    """Where it is allowed, root and nested supervisors have precedence; nothing they start has."""
    may = os.geteuid() == 0 and os.getpriority(os.PRIO_PROCESS, 0) == 0
    with run_tree("nested:tree", tmp_path) as app:
        tree = app.up().snapshot().tree
        inner = supervisor_at(app, "deep/inner")
        first = [app.process.pid, inner.pid]
        others = [worker.pid for worker in workers(tree)] + templates(app)
        favoured = FIRST if may else os.getpriority(os.PRIO_PROCESS, 0)
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in first if pid} == {favoured}
        ordinary = os.getpriority(os.PRIO_PROCESS, 0)
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in others if pid} == {ordinary}
        assert {os.sched_getscheduler(pid) for pid in others if pid} == {os.sched_getscheduler(0)}
        if may and may_be_real_time():
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            assert {os.sched_getscheduler(pid) for pid in first if pid} == {policy}


def may_be_real_time() -> bool:
    """Whether the kernel lets us have a real-time priority; tried out in a child."""
    pid = os.fork()
    if pid == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def test_a_root_killed_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    """SIGKILL of root at moments of its start: nothing is left of any."""
    for events in ("nothing", "socket", "first worker"):
        with run_tree("nested:tree", tmp_path) as app:
            if events == "socket":
                eventually((app.runtime / "control.sock").exists)
            elif events == "first worker":
                app.said("deep/a.0")
            app.process.kill()
            gone(app, patience=3.0)
            app.wait()
    assert copies(app) == []


def test_a_stopped_and_continued_root_kills_nobody(tmp_path: Path) -> None:
    """SIGSTOP of root for longer than every heartbeat: after SIGCONT nobody is taken for dead."""
    with run_tree("flat:beating", tmp_path) as app:
        before = pids(app.up())
        app.process.send_signal(signal.SIGSTOP)
        assert not await_death(app.process.pid, patience=1.5)  # three times the heartbeat
        app.process.send_signal(signal.SIGCONT)
        app.wait_worker("beating/w.9", lambda worker: worker.heartbeat_at)
        assert not await_death(app.process.pid, patience=1.0)
        assert pids(app) == before
        assert app.stop() == 0


def test_a_second_run_of_the_same_name_touches_nothing(tmp_path: Path) -> None:
    """Exit 75, the pid of the first, and not one of its files or processes changed."""
    with run_tree("flat:strict", tmp_path) as app:
        before = pids(app.up())
        files = written(app.runtime)
        with App("flat:strict", tmp_path, cwd=TREES, env={"MARKS": str(tmp_path)}) as second:
            assert second.wait() == 75
        assert f"already running (pid {app.process.pid}" in second.errors
        assert written(app.runtime) == files
        assert pids(app) == before
        assert app.stop() == 0


def written(directory: Path) -> set[tuple[str, int, int, int]]:
    """Return what changes when a file of a directory is replaced or written.

    Not of the reports of arbiter, janitor and pump, which are replaced every few seconds.
    """
    stats = [(path.name, path.lstat()) for path in directory.iterdir() if ".json" not in path.name]
    return {(name, info.st_ino, info.st_size, info.st_mtime_ns) for name, info in stats}


@pytest.mark.parametrize("template", ["runtime", "release"])
def test_a_killed_template_is_replaced_and_nobody_is_blamed(tmp_path: Path, template: str) -> None:
    """Its children go with it, come back from a new one, and count for no intensity (0 here)."""
    with run_tree("flat:strict", tmp_path) as app:
        old = pids(app.up())
        pid = templates(app)[("runtime", "release").index(template)]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: all_ready(app, 20) and not set(pids(app).values()) & dead(old, template))
        assert not [p for p in dead(old, template) if p is not None and alive(p)]
        assert copies(app) == []
        assert app.stop() == 0


@pytest.mark.parametrize("template", ["runtime", "release"])
def test_a_stopped_template_is_replaced(tmp_path: Path, template: str) -> None:
    """SIGSTOP of a template: nobody could be restarted; after root's patience it is replaced."""
    with run_tree("flat:strict", tmp_path, wrapper=IMPATIENT) as app:
        old = pids(app.up())
        pid = templates(app)[("runtime", "release").index(template)]
        os.kill(pid, signal.SIGSTOP)
        app.wait_for(event="template stopped", template=template)
        assert await_death(pid)
        eventually(lambda: all_ready(app, 20) and not set(pids(app).values()) & dead(old, template))
        assert copies(app) == []
        assert app.stop() == 0


def dead(old: dict[str, int | None], template: str) -> set[int | None]:
    """Return the processes that must go with a template."""
    gone_with = old.values() if template == "release" else [old["flat/inner/x.0"]]
    return set(gone_with)


@pytest.mark.parametrize("name", ["pump", "broker", "observer"])
def test_a_killed_service_is_restarted_and_the_tree_is_untouched(tmp_path: Path, name: str) -> None:
    """Pump, broker or observer killed: a new one within moments, and no worker noticed."""
    with run_tree("flat:strict", tmp_path, "--health", "127.0.0.1:0") as app:
        before = pids(app.up())
        pid = service(app, name)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: has_successor(app, name, pid), f"a new {name}")
        assert pids(app) == before
        app.wait_for(event="child terminated", offender=name)  # the pump works
        assert app.stop() == 0


def has_successor(app: App, name: str, pid: int) -> bool:
    """Whether a service is ready in another process."""
    found = next(s for s in app.snapshot().services if f"/{name}" in s.path)
    return found.state == "ready" and found.pid != pid


def test_two_hundred_children_killed_at_once_all_come_back(tmp_path: Path) -> None:
    """SIGKILL of every worker in one breath: each slot is filled once, by one process.

    The runtime's own processes take little for it: nothing spins.
    """
    with run_tree("flat:two_hundred", tmp_path) as app:
        old = pids(app.up())
        runtime = [app.process.pid, *templates(app), service(app, "pump"), service(app, "janitor")]
        before = sum(map(processor_seconds, runtime))
        for pid in old.values():
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: all_ready(app, 200) and not set(pids(app).values()) & {*old.values()})
        app.wait_until(lambda: len(app.find(event="child terminated")) == 200, "200 reports")
        assert sum(map(processor_seconds, runtime)) - before < 200 * A_RESTART
        assert {worker.restarts for worker in workers(app.snapshot().tree)} == {1}
        assert copies(app) == []
        assert app.stop() == 0


def processor_seconds(pid: int) -> float:
    """Return for how long a process has run."""
    ran = sample.ran_ns(pid)
    assert ran is not None
    return ran / 1e9


def lives(life: int, worker: WorkerStatus) -> bool:
    """Whether a worker is ready in its n-th life."""
    return worker.generation == life and worker.state == "ready"


def test_intensity_exceeded_at_the_top_ends_the_app_with_70(tmp_path: Path) -> None:
    """The fourth death in a period of three: a report, everything stopped, exit 70."""
    with run_tree("flat:three", tmp_path) as app:
        app.up()
        for life in range(1, 5):
            worker = app.wait_worker("three/w.0", partial(lives, life))
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
        assert app.wait() == 70
        gone(app, patience=1.0)
    assert app.find(event="reached maximum restart intensity", offender="w.0")
    assert app.find(event="down", exit_code=70)
