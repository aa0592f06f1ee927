"""An app in other worlds: as PID 1, among strangers, without pidfds, without /proc."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from supervisor.control.messages import StopChildren
from supervisor.recycling import machine
from tests.crash.app_harness import App, alive, eventually, workers
from tests.crash.running_app import family, gone, run_tree, strace, templates
from tests.health_schema import broken


def unshare(*options: str) -> tuple[str, ...]:
    """Return a wrapper that runs in namespaces of its own; skips where that is not allowed."""
    if "--fork" in options:
        options = (*options, "--kill-child")  # or a test that fails would leave it behind
    wrapper = ("unshare", *options, "--")
    if subprocess.run([*wrapper, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip(f"needs unshare {' '.join(options)}")
    return wrapper


def root_in(app: App) -> int:
    """Return the pid, as we see it, of a root that runs behind a wrapper that has forked."""
    return children_of(app.process.pid)[0]


def lost(wrapper: tuple[str, ...], directory: Path) -> dict[str, str]:
    """Return what `doctor` finds wanting in a world: what is lost, by the name of the check."""
    command = (*wrapper, sys.executable, "-m", "supervisor.cli.main", "doctor", "--json")
    environment = {**os.environ, "SUPERVISOR_RUNTIME_DIR": str(directory / "nobody")}
    said = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    findings = json.loads(said.stdout)["machine"]
    assert {one["word"] for one in findings} <= {"ok", "warn"}  # everything runs
    return {one["name"]: one["means"] for one in findings if one["word"] != "ok"}


def health(app: App) -> dict[str, Any]:
    """Return what health tells of an app, once the arbiter has looked at it."""

    def look() -> dict[str, Any] | None:
        url = f"http://{app.snapshot().health_address}/healthz"
        with urllib.request.urlopen(url, timeout=10) as answer:
            document = json.load(answer)
        assert broken(document) == []
        found: dict[str, Any] = document["supervisor"]
        return found if found["steady_state"]["memory"] else None

    app.wait_until(lambda: app.snapshot().health_address, "serves health")
    return eventually(look, "a report") or {}


def figures(found: dict[str, Any], child: str) -> list[Any]:
    """Return what health tells that the first worker of a child has."""
    slots = {one["path"]: one.get("workers") for one in found["tree"]["children"]}
    keys = ("memory_private_bytes", "fds", "threads")
    return [slots[child][0][key] for key in keys]


HEALTH = ("--health", "127.0.0.1:0")


def test_as_pid_1_it_reaps_strangers_and_passes_its_code_on(tmp_path: Path) -> None:
    """The init of a container: strangers' orphans leave no zombies, SIGTERM works, exit 0."""
    wrapper = unshare("--pid", "--fork", "--mount-proc")
    with run_tree("flat:three", tmp_path, wrapper=wrapper) as app:
        assert app.wait_for(event="up")["pid"] == 1
        root = root_in(app)
        shell = ["nsenter", "-t", str(root), "-p", "sh", "-c", "sh -c 'exit 3' & echo $!"]
        subprocess.run(shell, check=True, capture_output=True)
        eventually(lambda: not zombies_of(root), "no zombies")
        assert app.worker("three/w.0").generation == 1
        os.kill(root, signal.SIGTERM)
        assert app.wait() == 0


def test_as_pid_1_it_leaves_strangers_alone(tmp_path: Path) -> None:
    """What another process of the container leaves behind lives on; its end is reaped, no more."""
    wrapper = unshare("--pid", "--fork", "--mount-proc")
    with run_tree("flat:three", tmp_path, wrapper=wrapper) as app:
        app.up()
        root = root_in(app)
        before = set(children_of(root))
        shell = ["nsenter", "-t", str(root), "-p", "sh", "-c"]
        orphan = "sh -c 'trap \"exit 3\" TERM; while :; do sleep 1000 & wait; done' >&- 2>&- &"
        subprocess.run([*shell, orphan], check=True)
        (stranger,) = eventually(lambda: set(children_of(root)) - before, "adopted")
        subprocess.run([*shell, "sh -c 'exit 3' &"], check=True)
        eventually(lambda: set(children_of(root)) == before | {stranger}, "one more was reaped")
        assert alive(stranger)
        os.kill(stranger, signal.SIGTERM)
        eventually(lambda: stranger not in children_of(root), "reaped")
        assert app.worker("three/w.0").generation == 1
        os.kill(root, signal.SIGTERM)
        assert app.wait() == 0


def test_strangers_among_the_children_of_root_are_no_concern_of_it(tmp_path: Path) -> None:
    """Executed in place of their parent: reaped when they end, never killed, no effect on it."""
    start = " ".join(f"sleep 1000 >&- 2>&- & echo $! >>{tmp_path}/pids;" for _ in range(2))
    wrapper = ("sh", "-c", f'{start} exec "$@"', "sh")
    with run_tree("flat:three", tmp_path, wrapper=wrapper) as app:
        app.up()
        root = app.process.pid
        lives, ends = map(int, (tmp_path / "pids").read_text().split())
        try:
            assert {lives, ends} <= set(children_of(root))
            os.kill(ends, signal.SIGKILL)
            eventually(lambda: ends not in children_of(root), "reaped")
            os.kill(templates(app)[1], signal.SIGKILL)  # whose orphans are not strangers
            app.wait_worker("three/w.0", lambda w: w.generation == 2 and w.state == "ready")
            assert alive(lives)
            assert app.stop() == 0
            assert alive(lives)
        finally:
            os.kill(lives, signal.SIGKILL)


def test_as_pid_1_it_gives_up_with_its_code(tmp_path: Path) -> None:
    """The init of a container whose tree gives up: 70 is what the container ends with."""
    wrapper = unshare("--pid", "--fork", "--mount-proc")
    with run_tree("flat:strict", tmp_path, wrapper=wrapper) as app:
        app.up()
        victim, _ = inner_pids(app)[0]
        os.kill(victim, signal.SIGKILL)
        assert app.wait() == 70


def inner_pids(app: App) -> list[tuple[int, str]]:
    """Return the workers of an app in a namespace: their pids here, and there."""
    there = {str(worker.pid) for worker in workers(app.snapshot().tree)}
    found = []
    for pid in family(app):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        inner = next(x for x in status.splitlines() if x.startswith("NSpid")).split()[-1]
        if inner in there:
            found.append((pid, inner))
    return found


def children_of(pid: int) -> list[int]:
    """Return the children of a process, dead ones that it has not reaped too."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def zombies_of(pid: int) -> list[int]:
    """Return the dead children of a process that it has not reaped."""
    return [child for child in children_of(pid) if not alive(child)]


def test_without_pidfds_it_runs(tmp_path: Path) -> None:
    """A kernel that knows no pidfd_open: workers start, are restarted and stop."""
    wrapper = strace("pidfd_open,pidfd_send_signal:error=ENOSYS")
    with run_tree("flat:three", tmp_path, *HEALTH, wrapper=wrapper) as app:
        worker = app.up().worker("three/w.0")
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        app.wait_worker("three/w.0", lambda w: w.generation == 2 and w.state == "ready")
        assert all(figures(health(app), "three/w"))
        app.ask(StopChildren())
        assert app.wait() == 0
    found = lost(wrapper, tmp_path)
    assert "no pidfd_open (Linux 5.3)" in found.pop("pidfd")
    assert not {"proc", "hidden proc", "private memory"} & set(found)


def test_with_a_hidden_proc_it_runs(tmp_path: Path) -> None:
    """hidepid=2, and no right to look past it: killed workers leave nothing behind.

    Group 0 is shown everything nevertheless, and so is `doctor`.
    """
    wrapper = hidden("hidepid=2")
    with run_tree("flat:others", tmp_path, *HEALTH, wrapper=wrapper) as app:
        app.up()
        found = health(app)
        assert all(figures(found, "others/ours"))
        assert all(figures(found, "others/theirs"))
        for number, slot in enumerate(("ours", "theirs"), start=1):
            eventually(lambda: len(sleepers(app)) == 2)
            theirs = {pid for pid, _ in inner_pids(app)}
            before = sleepers(app)
            victim = next(
                pid for pid, inner in inner_pids(app)
                if int(inner) == app.worker(f"others/{slot}.0").pid
            )  # fmt: skip
            os.kill(victim, signal.SIGKILL)
            app.wait_worker(f"others/{slot}.0", lambda w: w.generation == 2 and w.state == "ready")
            eventually(lambda was=before: len(sleepers(app)) == 2 and sleepers(app) != was)
            assert len(sleepers(app) & before) == 1
            assert len({pid for pid, _ in inner_pids(app)} & theirs) == 1, number
        root = root_in(app)
        os.kill(root, signal.SIGTERM)
        assert app.wait() == 0
    assert not {"proc", "hidden proc", "pidfd", "private memory"} & set(lost(wrapper, tmp_path))


def hidden(options: str) -> tuple[str, ...]:
    """Return a wrapper that runs in a namespace whose /proc is mounted so."""
    script = (
        f"mount -t proc -o {options} proc /proc"
        ' && exec setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace "$@"'
    )
    return (*unshare("--mount", "--pid", "--fork"), "sh", "-c", script, "sh")


def test_a_proc_that_hides_others_from_us_is_told(tmp_path: Path) -> None:
    """hidepid=2 for our group, too: what workers of another user have is null, `doctor` says so."""
    wrapper = hidden("hidepid=2,gid=4242")
    with run_tree("flat:others", tmp_path, *HEALTH, wrapper=wrapper) as app:
        app.up()
        found = health(app)
        assert all(figures(found, "others/ours"))
        assert figures(found, "others/theirs") == [None, None, None]
        os.kill(root_in(app), signal.SIGTERM)
        assert app.wait() == 0
    missing = lost(wrapper, tmp_path)
    assert "of workers with user= memory" in missing["hidden proc"]
    assert not {"proc", "pidfd", "private memory"} & set(missing)


def sleepers(app: App) -> set[int]:
    """Return what the workers of an app have left to sleep."""
    return {pid for pid, command in family(app).items() if command.startswith("sleep\0")}


def test_without_proc_it_runs(tmp_path: Path) -> None:
    """No /proc: workers start, are restarted and stop; `doctor` lists what is lost.

    What cannot be known is null in health; a daemon that has left its worker is not found.
    """
    unshare("--mount")
    bare = 'mount -t tmpfs none /proc && exec "$@"'
    wrapper = ("unshare", "--mount", "--", "sh", "-c", bare, "sh")
    with run_tree("flat:three", tmp_path, *HEALTH, wrapper=wrapper) as app:
        worker = app.up().worker("three/w.0")
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        app.wait_worker("three/w.0", lambda w: w.generation == 2 and w.state == "ready")
        found = health(app)
        assert figures(found, "three/w") == [None, None, None]
        assert found["tree"]["children"][0]["workers"][0]["memory_soft_bytes"] is None
        assert found["instance"]["memory_limit_bytes"] is None
        memory = found["steady_state"]["memory"]
        unknown = ("private_bytes", "budget_bytes", "available_bytes", "pressure_some_percent")
        assert [memory[key] for key in unknown] == [None] * 4
        assert app.stop() == 0
    gone(app, patience=1.0)
    missing = lost(wrapper, tmp_path)
    assert "(a daemon) is not found" in missing["proc"]
    assert "no budget" in missing["memory"]
    assert {"private memory", "memory cgroup", "memory pressure"} <= set(missing)


def test_without_a_writable_cgroup_it_runs(tmp_path: Path) -> None:
    """A read-only cgroup: no kernel limit; the arbiter replaces a worker above it all the same.

    `supervisor doctor` says what is lost.
    """
    found = machine.cgroup()
    if found is None:
        pytest.skip("has no memory cgroup")
    top = found[0]
    while not os.path.ismount(top):
        top = os.path.dirname(top)
    bare = f'mount -o remount,bind,ro {top} && exec "$@"'
    inside = (*unshare("--mount"), "sh", "-c", bare, "sh")
    environment = {"MARKS": str(tmp_path)}
    with App("hungry:tree", tmp_path, *HEALTH, env=environment, wrapper=inside) as app:
        first = app.up().ready("hungry/hungry.0")
        quiet = app.ready("hungry/quiet.0")
        (tmp_path / "eat-hungry-hungry.0").touch()
        second = app.wait_worker(
            "hungry/hungry.0", lambda one: one.last_exit and one.state == "ready"
        )
        assert second.last_exit is not None
        assert (second.last_exit.cause, second.generation) == ("memory_hard", 2)
        assert second.restarts == 0
        assert all(figures(health(app), "hungry/quiet"))
        assert app.worker("hungry/quiet.0").pid == quiet.pid
        assert not os.path.exists(f"{found[0]}/letitcrash-{first.pid}")
        assert app.stop() == 0
    missing = lost(inside, tmp_path)
    assert "no writable cgroup" in missing["memory cgroup"]
    assert not {"proc", "hidden proc", "pidfd", "private memory", "memory"} & set(missing)


#: Has a limit and, of all cgroups, sees only its own: as a container without a cgroup namespace.
BOXED = """
echo $$ > {own}/cgroup.procs
mount --bind {own} {place}
mount -t tmpfs cgroups /sys/fs/cgroup
mkdir /sys/fs/cgroup/memory
mount --move {place} /sys/fs/cgroup/memory
exec "$@"
"""


def test_the_limit_of_a_container_without_a_cgroup_namespace_is_found(tmp_path: Path) -> None:
    """The budget is a part of it; of the whole machine's memory the app would be killed."""
    found = machine.cgroup()
    if found is None or not os.access(found[0], os.W_OK):
        pytest.skip("has no writable memory cgroup")
    own = Path(found[0]) / f"boxed-{os.getpid()}"
    own.mkdir()
    files = machine.V2_FILES if found[1] else machine.V1_FILES
    (own / files.limit).write_text(str(300 << 20))
    place = tmp_path / "place"
    place.mkdir()
    script = BOXED.format(own=own, place=place)
    asked = "from supervisor.recycling import machine; print(machine.cgroup(), machine.total())"
    command = (*unshare("--mount", "--propagation", "private"), "sh", "-ec", script, "sh")
    try:
        ran = subprocess.run(
            [*command, sys.executable, "-c", asked], capture_output=True, text=True, check=True
        )
    finally:
        own.rmdir()
    assert ran.stdout == f"('/sys/fs/cgroup/memory', {found[1]}) {300 << 20}\n"
