"""Fork, run, end, reap: what a template says about the processes it has made."""

import errno
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import link as links
from supervisor.definition import Settings
from supervisor.process import messages
from supervisor.process.launch import Command
from tests.crash.app_harness import eventually
from tests.crash.process_harness import APPS, RealProcess, RealTemplate, encoded_kind, wait_gone


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealTemplate]:
    """A template that finds the entries of these tests."""
    monkeypatch.chdir(APPS)
    with RealTemplate() as template:
        yield template


def assign(process: RealProcess, stdout: int, kind: bytes, *declared: int) -> None:
    """Tell a spare who it is; without a kind, if it has got ready for that."""
    process.channel.send(links.Assign("test/spare.0", 1, kind), (stdout, stdout, *declared))
    os.close(stdout)


def umask_of(pid: int) -> int:
    """Return the umask of a process."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("Umask")).split()[1], 8)


def test_a_process_runs_what_was_asked_for_and_its_end_is_told(template: RealTemplate) -> None:
    """Spawned names the pid, the code runs in it, Exited has its status, and Finished came."""
    process = template.spawn("process_entries:say_pid")
    assert process.pids() == [process.pid]
    process.message(links.Finished)
    exited = template.exited(process)
    assert (exited.status, exited.escaped) == (0, 0)
    assert exited.max_rss_bytes > 0


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("exit 0", 0), ("exit 3", 3), ("exit 259", 3), ("text", 1), ("_exit 5", 5),
        ("raise", 1), (f"signal {int(signal.SIGKILL)}", -signal.SIGKILL),
        (f"signal {int(signal.SIGTERM)}", -signal.SIGTERM),
        (f"signal {int(signal.SIGINT)}", -signal.SIGINT),
        (f"signal {int(signal.SIGHUP)}", -signal.SIGHUP), ("segv", -signal.SIGSEGV),
    ],
)  # fmt: skip
def test_every_kind_of_end_has_its_status(template: RealTemplate, how: str, code: int) -> None:
    """Exit codes as Python gives them, signals as the kernel does."""
    process = template.spawn("process_entries:end", how.encode())
    assert os.waitstatus_to_exitcode(template.exited(process).status) == code


def test_a_hard_exit_is_not_taken_for_an_orderly_one(template: RealTemplate) -> None:
    """os._exit(0) sends no Finished: exit status 0 in mid-work is no success."""
    process = template.spawn("process_entries:end", b"_exit 0")
    process.link_closed()
    assert process.heard == []
    template.exited(process)


def test_an_exception_is_told_with_the_authors_frames(template: RealTemplate) -> None:
    """Failed has name, text and a traceback that begins with the author's code."""
    process = template.spawn("process_entries:end", b"raise")
    failed = process.message(links.Failed)
    assert (failed.exception, failed.message) == ("LookupError", "no such thing")
    assert "process_entries.py" in failed.text
    assert "bootstrap.py" not in failed.text
    template.exited(process)


def test_an_orderly_end_waits_for_threads_and_runs_exit_hooks(template: RealTemplate) -> None:
    """As in a Python program: threads are joined, atexit hooks of the process run, output comes."""
    process = template.spawn("process_entries:clean_up")
    assert [process.line() for _ in range(3)] == ["returning", "thread done", "hook"]
    process.message(links.Finished)
    assert template.exited(process).status == 0


def test_an_orderly_end_waits_for_children_of_multiprocessing(template: RealTemplate) -> None:
    """A child that multiprocessing started is joined, not killed in the middle of its work."""
    process = template.spawn("process_entries:with_multiprocessing")
    assert process.line() == "child done"
    assert template.exited(process).status == 0


def test_a_spare_waits_to_be_told_who_it_is(template: RealTemplate) -> None:
    """A spare runs nothing until Assign comes, and then what that says, with its descriptors."""
    spare, stdout = template.spare()
    read, write = os.pipe()
    assign(spare, stdout, encoded_kind("process_entries:descriptors", fds=["extra"]), write)
    assert "pipe:" in spare.line()
    assert os.waitstatus_to_exitcode(template.exited(spare).status) == 0
    os.close(read)
    os.close(write)


def test_a_spare_gets_ready_for_a_kind_of_child_and_runs_nothing_of_it(
    template: RealTemplate,
) -> None:
    """It has the settings of that kind and has said nothing; Assign makes it run."""
    settings = Settings(env={"COLOUR": "green"}, umask=0o027)
    spare, stdout = template.spare(encoded_kind("process_entries:colour", settings=settings))
    eventually(lambda: umask_of(spare.pid) == 0o027, "the umask of the kind")
    assert not select.select([spare.stdout], [], [], 0)[0]
    assign(spare, stdout, b"")
    assert spare.line() == "green"
    assert template.exited(spare).status == 0


def test_a_spare_that_cannot_get_ready_ends(template: RealTemplate) -> None:
    """Settings that fail are for the child itself to report: the spare is just not there."""
    nowhere = Settings(cwd="/nonexistent")
    spare, stdout = template.spare(encoded_kind("process_entries:say_pid", settings=nowhere))
    assert template.exited(spare).status == 0
    os.close(stdout)
    assert os.read(spare.stdout, 1) == b""


def test_a_spare_nobody_needs_ends_when_its_link_is_closed(template: RealTemplate) -> None:
    """Closing the link is all it takes; status 0, nothing printed."""
    spare, stdout = template.spare()
    spare.channel.close()
    assert template.exited(spare).status == 0
    os.close(stdout)
    assert os.read(spare.stdout, 1) == b""


def test_a_spare_dies_of_a_request_to_stop(template: RealTemplate) -> None:
    """SIGTERM that comes before anything runs is not lost."""
    spare, stdout = template.spare()
    template.client.signal(spare.serial, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(template.exited(spare).status) == -signal.SIGTERM
    os.close(stdout)


def test_a_process_dies_of_a_request_to_stop_at_any_moment(template: RealTemplate) -> None:
    """SIGTERM in the same breath as Spawn reaches the process, before it is set up or after."""
    processes = [template.ask_for("process_entries:wait") for _ in range(20)]
    for process in processes:
        template.client.signal(process.serial, signal.SIGTERM)
    for process in processes:
        assert os.waitstatus_to_exitcode(template.exited(process).status) == -signal.SIGTERM


def test_a_signal_for_a_process_that_is_gone_hits_nothing(template: RealTemplate) -> None:
    """Signals go by serial: a late one meets no other process (pid reuse cannot matter)."""
    gone = template.spawn("process_entries:say_pid")
    template.exited(gone)
    bystander = template.spawn("process_entries:wait")
    bystander.line()
    for group in (False, True):
        template.client.signal(gone.serial, signal.SIGKILL, group)
        template.client.signal(4711, signal.SIGKILL, group)
    template.client.signal(bystander.serial, signal.SIGUSR1)
    assert os.waitstatus_to_exitcode(template.exited(bystander).status) == -signal.SIGUSR1


def test_stopping_and_continuing_are_seen_at_once(template: RealTemplate) -> None:
    """SIGSTOP and SIGCONT are told; a stopped process is killed all the same."""
    process = template.spawn("process_entries:wait")
    process.line()
    template.client.signal(process.serial, signal.SIGSTOP)
    assert template.reply(messages.Stopped, serial=process.serial).stopped
    template.client.signal(process.serial, signal.SIGCONT)
    assert not template.reply(messages.Stopped, serial=process.serial).stopped
    template.client.signal(process.serial, signal.SIGSTOP)
    assert template.reply(messages.Stopped, serial=process.serial).stopped
    template.client.signal(process.serial, signal.SIGKILL, group=True)
    template.exited(process)


def test_a_program_replaces_the_process_and_closes_the_link(template: RealTemplate) -> None:
    """The link closes on exec: its end, with no Failed before it, is the proof of execution."""
    process = template.spawn(Command(["sh", "-c", "echo $0 $$; exec sleep 1000", "arg"]))
    process.link_closed()
    assert process.heard == []
    assert process.line() == f"arg {process.pid}"
    template.client.signal(process.serial, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(template.exited(process).status) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("argv", "env", "name", "hint"),
    [
        (["/no/such/program"], {}, "/no/such/program", "no such program"),
        (["not-executable"], {}, "not-executable", "check its mode"),
        (["./no-program"], {}, "./no-program", "script needs #!"),
        (["true"], {"BIG": "x" * 200_000}, "true", "too large for the kernel"),
    ],
    ids=["ENOENT", "EACCES", "ENOEXEC", "E2BIG"],
)  # fmt: skip
def test_a_program_that_cannot_be_executed_is_named_with_a_hint(
    template: RealTemplate,
    tmp_path: os.PathLike[str],
    argv: list[str],
    env: dict[str, str],
    name: str,
    hint: str,
) -> None:
    """ENOENT, EACCES, ENOEXEC and E2BIG say what was tried and what to do, before the exit."""
    for file, mode in (("not-executable", 0o644), ("no-program", 0o755)):
        path = os.path.join(tmp_path, file)
        with open(path, "w") as script:
            script.write("neither one thing nor another\n")
        os.chmod(path, mode)
    settings = Settings(cwd=str(tmp_path), env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **env})
    process = template.spawn(Command(argv), settings=settings)
    failed = process.message(links.Failed)
    assert repr(name) in failed.message, failed
    assert hint in failed.message
    assert template.exited(process).status != 0


def test_a_fork_that_fails_for_now_is_said_to_be_transient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """EAGAIN is an answer, not an end: the template goes on and later forks succeed."""
    monkeypatch.chdir(APPS)
    with RealTemplate() as template:
        template.spawn("process_entries:say_pid")  # it is up
        strace = subprocess.Popen(
            [
                "strace", "-p", str(template.pid), "-o", os.devnull,
                "-e", "trace=clone,clone3,fork,vfork",
                "-e", "inject=clone,clone3,fork,vfork:error=EAGAIN:when=1",
            ],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert strace.stderr is not None
        try:
            if b"attached" not in strace.stderr.readline():
                pytest.skip("strace may not attach here")
            refused = template.ask_for("process_entries:say_pid")
            failed = template.reply(messages.SpawnFailed, serial=refused.serial)
            assert failed.transient
            assert os.strerror(errno.EAGAIN) in failed.problem
            later = template.spawn("process_entries:say_pid")
            assert template.exited(later).status == 0
        finally:
            strace.terminate()
            strace.wait()
            strace.stderr.close()


@pytest.mark.parametrize("size", [0, 1 << 20], ids=["small", "large"])
@pytest.mark.parametrize("free", [0, 1, 3])
def test_a_full_descriptor_table_fails_a_start_and_nothing_else(
    template: RealTemplate, size: int, free: int
) -> None:
    """EMFILE in the template: SpawnFailed, transient; its other processes and itself live on."""
    neighbour = template.spawn("process_entries:wait")
    neighbour.line()
    before = resource.prlimit(template.pid, resource.RLIMIT_NOFILE)
    wait_until_asleep(template.pid)
    used = set(map(int, os.listdir(f"/proc/{template.pid}/fd")))
    unused = [number for number in range(100) if number not in used]
    resource.prlimit(template.pid, resource.RLIMIT_NOFILE, (unused[free], before[1]))
    refused = template.ask_for("process_entries:say_pid", b"x" * size)
    failed = template.reply(messages.SpawnFailed, serial=refused.serial)
    assert failed.transient
    assert "descriptors" in failed.problem
    if free < 2:
        template.client.open(99)
        template.reply(messages.Closed, token=99)
    resource.prlimit(template.pid, resource.RLIMIT_NOFILE, before)
    later = template.spawn("process_entries:say_pid")
    assert template.exited(later).status == 0
    assert os.readlink(f"/proc/{neighbour.pid}/exe")


def test_a_template_that_nobody_talks_to_does_not_wake_up(template: RealTemplate) -> None:
    """No polling: between two requests a template switches context not once."""
    process = template.spawn("process_entries:wait")
    process.line()
    spare, stdout = template.spare()
    os.close(stdout)
    wait_until_asleep(template.pid)
    before = switches(template.pid)
    subprocess.run([sys.executable, "-c", "import json, asyncio"], check=True)  # time goes by
    assert switches(template.pid) == before
    assert spare.pid


def switches(pid: int) -> int:
    """Return how often a process was switched to or from."""
    with open(f"/proc/{pid}/status") as status:
        return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)


def wait_until_asleep(pid: int) -> None:
    """Wait until a process waits."""
    state = ""
    while state != "S":
        os.sched_yield()
        with open(f"/proc/{pid}/stat") as stat:
            state = stat.read().rpartition(")")[2].split()[0]


def test_signals_of_a_terminal_do_not_end_a_template(template: RealTemplate) -> None:
    """SIGINT, SIGHUP, SIGQUIT and SIGTERM from outside are not its business."""
    template.exited(template.spawn("process_entries:say_pid"))
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        os.kill(template.pid, signum)
    process = template.spawn("process_entries:say_pid")
    assert template.exited(process).status == 0


def test_garbage_ends_only_the_connection_it_came_over(template: RealTemplate) -> None:
    """A frame that is no request costs its sender all its processes, and nobody else any."""
    neighbour = template.spawn("process_entries:wait")
    neighbour.line()
    with template.open() as other:
        victim = other.spawn("process_entries:wait")
        victim.line()
        other.client._channel.socket.send(b"\xc1 no request")
        other.gone()
        wait_gone(victim.pid)
    template.reply(messages.Closed)
    template.client.signal(neighbour.serial, signal.SIGUSR1)
    template.exited(neighbour)


def test_a_supervisor_that_does_not_read_holds_up_nobody(template: RealTemplate) -> None:
    """Replies wait for their reader; other connections are served meanwhile."""
    with template.open() as deaf:
        asked = [deaf.ask_for("process_entries:say_pid") for _ in range(300)]
        process = template.spawn("process_entries:say_pid")
        assert template.exited(process).status == 0
        for each in asked:  # and nothing was lost
            assert deaf.exited(each).status == 0
    template.reply(messages.Closed)
