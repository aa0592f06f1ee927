"""What the surroundings can do to an app: limits, missing parts, taken names; and its own bugs."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.errors import ControlError
from supervisor.control.messages import RestartChildren, StopChildren
from supervisor.recycling import machine
from tests.crash.app_harness import App, alive, eventually, workers
from tests.crash.running_app import (
    TREES,
    await_death,
    family,
    gone,
    run_tree,
    service,
    strace,
    templates,
)

ROOT = Path(__file__).parents[2]
INJECTED = (sys.executable, str(TREES / "injected.py"))


def test_a_bug_in_root_ends_the_app_with_a_report(tmp_path: Path) -> None:
    """An exception nobody expected: what and where on stderr, nothing left, exit 70."""
    env = {"FAULT": "fail"}
    with run_tree("flat:three", tmp_path, wrapper=INJECTED, env=env) as app:
        assert app.wait() == 70
        assert not family(app)
    assert "internal error, ending flat: RuntimeError('a bug of ours')" in app.errors
    assert 'injected.py", line' in app.errors


def test_a_blocked_root_writes_its_stacks(tmp_path: Path) -> None:
    """More than a second away from its sockets: where it was is in the log, and for how long."""
    with run_tree("flat:three", tmp_path, wrapper=INJECTED, env={"FAULT": "block"}) as app:
        assert app.wait_for(event="loop was blocked")["seconds"] >= 1.3
        stack = [str(record["event"]) for record in app.find(path="root", raw=True)]
        assert [line for line in stack if "injected.py" in line and "in block" in line]
        assert app.stop() == 0


@pytest.mark.parametrize(
    ("tree", "problem", "where"),
    [
        ("bad_name:tree", '"web"', "bad_name.py:"),
        ("bad_import:tree", "no_such_module", "bad_import.py:3"),
        ("flat:nothing", "nothing", ""),
        ("bad_cycle:tree", "outer → inner → outer", "bad_cycle.py:6"),
        ("bad_cycle:reserved", '"runtime" is the runtime\'s own', "bad_cycle.py:9"),
    ],
)
def test_a_bad_app_is_one_message_and_nothing_started(
    tmp_path: Path, tree: str, problem: str, where: str
) -> None:
    """Names twice or reserved, cycles, a failing import, no attribute: exit 78, file and line."""
    with run_tree(tree, tmp_path) as app:
        assert app.wait() == 78
        assert not family(app)
    assert problem in app.errors
    assert where in app.errors
    assert app.errors.count("error:") == 1
    assert "Traceback" not in app.errors
    assert app.records == []


# --- limits -------------------------------------------------------------------------------------


def test_too_few_descriptors_are_found_out_before_the_start(tmp_path: Path) -> None:
    """`ulimit -n 64`: exit 78, with what is needed and what there is."""
    limited = ("prlimit", "--nofile=64:64", "--")
    with run_tree("flat:hundred", tmp_path, wrapper=limited) as app:
        assert app.wait() == 78
        assert not family(app)
    assert "needs 996 open files" in app.errors
    assert "limit is 64" in app.errors


def test_a_root_out_of_descriptors_goes_on(tmp_path: Path) -> None:
    """EMFILE: with its reserve it answers, restarts, logs and does as it is told."""
    with run_tree("flat:hundred", tmp_path, "--spares", "0") as app:
        before = [w.pid for w in workers(app.up().snapshot().tree)]
        assert before[0] is not None
        with no_more_descriptors(app.process.pid):
            for _ in range(2):  # what the reserve has lent comes back to it
                assert app.worker("hundred/w.1").pid == before[1]
            os.kill(before[0], signal.SIGKILL)
            app.wait_for(event="child terminated", offender="w.0")
            app.wait_worker("hundred/w.0", lambda w: w.generation == 2 and w.state == "ready")
            app.ask(RestartChildren("hundred/w.2"))
            assert app.worker("hundred/w.2").pid != before[2]
        assert [w.pid for w in workers(app.snapshot().tree)][3:] == before[3:]
        assert not app.find(event="start postponed")
        assert app.stop() == 0


def test_all_ways_of_being_ready_survive_a_lack_of_descriptors(tmp_path: Path) -> None:
    """A notify socket is made with the reserve; a port is tried until there is a descriptor."""
    with run_tree("flat:ways", tmp_path, "--spares", "0") as app:
        before = {w.path: w.pid for w in workers(app.up().snapshot().tree)}
        with no_more_descriptors(app.process.pid):
            for pid in before.values():
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
            for path in before:
                app.wait_worker(path, lambda w: w.generation == 2 and w.state == "ready")
        assert app.stop() == 0


def test_clients_that_root_has_no_descriptors_for_are_told_so(tmp_path: Path) -> None:
    """When silent clients hold the reserve, others hear it at once; later all is as before."""
    with run_tree("flat:three", tmp_path) as app:
        app.up()
        with no_more_descriptors(app.process.pid):
            silent = [connects(app.socket) for _ in range(3)]
            with pytest.raises(ControlError, match="no file descriptors left"):
                app.snapshot()
            for client in silent:
                client.close()
            eventually(lambda: answers(app))
        assert app.stop() == 0


def test_a_start_that_finds_no_descriptors_is_postponed(tmp_path: Path) -> None:
    """Not even a reserve is left: the restart waits until there are some, and others go on."""
    with run_tree("flat:hundred", tmp_path, "--spares", "0") as app:
        before = [w.pid for w in workers(app.up().snapshot().tree)]
        assert before[0] is not None
        pid = app.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # numbers up to 2
        os.kill(before[0], signal.SIGKILL)
        app.wait_for(event="start postponed", child="hundred/w.0")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        app.ready("hundred/w.0")
        assert [w.pid for w in workers(app.snapshot().tree)][1:] == before[1:]
        assert app.stop() == 0


@contextlib.contextmanager
def no_more_descriptors(pid: int) -> Iterator[None]:
    """Forbid a process every descriptor beyond the first number that is free."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    free = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def answers(app: App) -> bool:
    """Whether the control socket answers."""
    try:
        return app.snapshot().pid == app.process.pid
    except ControlError:
        return False


def connects(path: str) -> socket.socket:
    """Connect, and say nothing."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def test_hundreds_of_restarts_leak_nothing(tmp_path: Path) -> None:
    """Five hundred crashes: as many descriptors as before, and hardly more private memory."""
    with run_tree("flat:hundred", tmp_path) as app:
        app.up()
        for life in range(2, 5):  # until all is made that is made once
            crash_all(app, life)
        pids = [app.process.pid, *templates(app), service(app, "pump")]
        assert not await_death(app.process.pid, patience=0.3)  # spares come, clients go
        fds, memory = [fds_of(pid) for pid in pids], [private_of(pid) for pid in pids]
        for life in range(5, 10):
            crash_all(app, life)
        # A spare has two, a client one; a leak of one a restart would be five hundred.
        eventually(
            lambda: all(fds_of(pid) - was < 16 for pid, was in zip(pids, fds, strict=True)),
            "descriptors as before",
        )
        grown = {pid: private_of(pid) - was for pid, was in zip(pids, memory, strict=True)}
        assert max(grown.values()) < 512, grown
        assert app.stop() == 0


def crash_all(app: App, life: int) -> None:
    """Kill all workers; wait until each is in its n-th life, and its log is settled."""
    for worker in workers(app.snapshot().tree):
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
    eventually(
        lambda: {(w.generation, w.state) for w in workers(app.snapshot().tree)} == {(life, "ready")}
    )


def fds_of(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def private_of(pid: int) -> int:
    """Return the private memory of a process in KiB."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private"))


def test_nothing_wakes_up_while_nothing_happens(tmp_path: Path) -> None:
    """20 idle workers: root, supervisors, templates, pump, observer, broker sleep through 3 s."""
    with run_tree("flat:strict", tmp_path, "--health", "127.0.0.1:0") as app:
        app.up()
        eventually(lambda: len(family(app)) == 32)  # 20 workers, 8 of ours, 4 spares
        eventually(lambda: list(tmp_path.rglob("steady.json")))  # the next look is in 30 s
        asleep = eventually(lambda: settled(app))
        assert not await_death(app.process.pid, patience=3.0)
        assert switches(app) == asleep
        assert app.stop() == 0


def settled(app: App) -> dict[int, int]:
    """Return the switches of all processes once half a second has passed without any."""
    before = switches(app)
    assert not await_death(app.process.pid, patience=0.5)
    return before if switches(app) == before else {}


def switches(app: App) -> dict[int, int]:
    """Return how often each process of an app has gone to sleep by itself."""
    found = {}
    for pid in family(app):
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(x for x in status.splitlines() if x.startswith("voluntary_ctxt"))
        found[pid] = int(line.split()[1])
    return found


# --- names and places ---------------------------------------------------------------------------


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """A runtime directory of more than 107 bytes: says so, and starts nothing."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    with run_tree("flat:three", long) as app:
        assert app.wait() == 78
        assert not family(app)
    assert "at most 107" in app.errors
    assert "SUPERVISOR_RUNTIME_DIR" in app.errors


def test_a_health_port_that_is_taken_names_its_owner(tmp_path: Path) -> None:
    """Exit 78, the port and who has it; nothing was imported or started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_tree("flat:three", tmp_path, "--health", f"127.0.0.1:{port}") as app:
            assert app.wait() == 78
    assert f"127.0.0.1:{port}" in app.errors
    assert f"(pid {os.getpid()})" in app.errors


# --- other worlds -------------------------------------------------------------------------------


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
    with run_tree("flat:three", tmp_path, wrapper=wrapper) as app:
        worker = app.up().worker("three/w.0")
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        app.wait_worker("three/w.0", lambda w: w.generation == 2 and w.state == "ready")
        app.ask(StopChildren())
        assert app.wait() == 0


def test_with_a_hidden_proc_it_runs(tmp_path: Path) -> None:
    """hidepid=2, and no right to look past it: killed workers leave nothing behind."""
    inside = unshare("--mount", "--pid", "--fork")
    hidden = (
        "mount -t proc -o hidepid=2 proc /proc"
        ' && exec setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace "$@"'
    )
    wrapper = (*inside, "sh", "-c", hidden, "sh")
    with run_tree("flat:others", tmp_path, wrapper=wrapper) as app:
        app.up()
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


def sleepers(app: App) -> set[int]:
    """Return what the workers of an app have left to sleep."""
    return {pid for pid, command in family(app).items() if command.startswith("sleep\0")}


def test_without_proc_it_runs(tmp_path: Path) -> None:
    """No /proc: workers start, are restarted and stop; only what needs it is lost."""
    unshare("--mount")
    bare = 'mount -t tmpfs none /proc && exec "$@"'
    wrapper = ("unshare", "--mount", "--", "sh", "-c", bare, "sh")
    with run_tree("flat:three", tmp_path, wrapper=wrapper) as app:
        worker = app.up().worker("three/w.0")
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        app.wait_worker("three/w.0", lambda w: w.generation == 2 and w.state == "ready")
        assert app.stop() == 0
    gone(app, patience=1.0)


def test_without_a_writable_cgroup_it_runs(tmp_path: Path) -> None:
    """A read-only cgroup: no kernel limit; the arbiter replaces a worker above it all the same.

    `supervisor doctor` says what is lost.
    """
    found = machine.cgroup()
    if found is None:
        pytest.skip("has no memory cgroup")
    top = machine.V2 if found[1] else machine.V1
    bare = f'mount -o remount,bind,ro {top} && exec "$@"'
    inside = (*unshare("--mount"), "sh", "-c", bare, "sh")
    environment = {"MARKS": str(tmp_path)}
    with App("hungry:tree", tmp_path, env=environment, wrapper=inside) as app:
        first = app.up().ready("hungry/hungry.0")
        quiet = app.ready("hungry/quiet.0")
        (tmp_path / "eat").touch()
        second = app.wait_worker(
            "hungry/hungry.0", lambda one: one.last_exit and one.state == "ready"
        )
        assert second.last_exit is not None
        assert (second.last_exit.cause, second.generation) == ("memory_hard", 2)
        assert second.restarts == 0
        assert app.worker("hungry/quiet.0").pid == quiet.pid
        assert not os.path.exists(f"{found[0]}/letitcrash-{first.pid}")
        assert app.stop() == 0
    command = (*inside, sys.executable, "-m", "supervisor.cli.main", "doctor")
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "no writable cgroup" in said.stdout
