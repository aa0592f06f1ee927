"""Under which conditions a process runs: descriptors, signals, limits, identity, stack dumps."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor import link as links
from supervisor.definition import Settings
from supervisor.process.bootstrap import DUMP_SIGNAL
from supervisor.process.launch import Command, Node
from tests.crash.process_harness import APPS, RealProcess, RealTemplate, encoded_kind

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root may change the user of a child")
NOBODY = "65534"
#: Signals that glibc keeps for threads, and its posix_spawn leaves ignored; nobody can change that.
OF_THE_C_LIBRARY = {32, 33}


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealTemplate]:
    """A template that finds the entries of these tests."""
    monkeypatch.chdir(APPS)
    with RealTemplate() as template:
        yield template


def conditions(template: RealTemplate, settings: Settings | None = None) -> dict[str, Any]:
    """Return what a process says about its conditions."""
    process = template.spawn("process_entries:conditions", settings=settings)
    said: dict[str, Any] = json.loads(process.line())
    template.exited(process)
    return said


# --- descriptors ------------------------------------------------------------------------------


def names(said: str) -> list[str]:
    """Return what kinds of things a process has open, 0, 1 and 2 first."""
    found = {int(fd): name for fd, name in json.loads(said).items()}
    assert sorted(found)[:3] == [0, 1, 2]
    return [found[fd].partition(":")[0] for fd in sorted(found)]


def test_a_process_has_exactly_the_descriptors_it_was_promised(template: RealTemplate) -> None:
    """0, 1, 2, link, stacks and the declared ones; nothing of the template or of its siblings."""
    for _ in range(3):
        template.spawn("process_entries:wait").line()
    read, write = os.pipe()
    process = template.spawn("process_entries:descriptors", declared={"extra": write})
    kinds = names(process.line())
    assert kinds[:3] == ["/dev/null", "pipe", "pipe"]
    assert sorted(kinds[3:]) == ["/memfd", "pipe", "socket"]
    os.close(read)
    os.close(write)


def test_a_spare_has_exactly_the_same(template: RealTemplate) -> None:
    """What it held while it waited does not stay."""
    spare, stdout = template.spare()
    read, write = os.pipe()
    kind = encoded_kind("process_entries:descriptors", fds=["extra"])
    spare.channel.send(links.Assign("test/spare.0", 1, kind), (stdout, stdout, write))
    kinds = names(spare.line())
    assert kinds[:3] == ["/dev/null", "pipe", "pipe"]
    assert sorted(kinds[3:]) == ["/memfd", "pipe", "socket"]
    for fd in (stdout, read, write):
        os.close(fd)


def test_a_program_has_0_1_2_and_nothing_else(template: RealTemplate) -> None:
    """Link, stacks and declared descriptors close on exec."""
    read, write = os.pipe()
    process = template.spawn(Command(["ls", "/proc/self/fd"]), declared={"extra": write})
    assert [process.line() for _ in range(4)] == ["0", "1", "2", "3"]  # 3: that of the listing
    template.exited(process)
    assert process.said == b""
    os.close(read)
    os.close(write)


# --- signals, limits, environment -------------------------------------------------------------


def test_what_root_was_started_with_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocked and ignored signals (nohup) and the umask of root do not reach its workers."""
    monkeypatch.chdir(APPS)
    program = (
        "import os, signal\n"
        "from tests.crash.process_harness import RealTemplate\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])\n"
        "for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR2):\n"
        "    signal.signal(signum, signal.SIG_IGN)\n"
        "os.umask(0o000)\n"
        "with RealTemplate() as template:\n"
        "    print(template.spawn('process_entries:conditions').line())\n"
        "    signal.signal(signal.SIGCHLD, signal.SIG_DFL)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(APPS.parent.parent.parent)},
        check=True,
    )
    found = json.loads(said.stdout)
    assert int(found["SigBlk"], 16) == 0
    ignored = set(found["ignored"]) - OF_THE_C_LIBRARY
    assert ignored == {signal.SIGPIPE, signal.SIGXFSZ}  # Python's own
    assert found["umask"] == 0o077


def test_a_process_leads_a_session_of_its_own(template: RealTemplate) -> None:
    """No terminal, no group in common with the template or another process."""
    said = conditions(template)
    assert said["sid"] == said["pgid"] == said["pid"]


def test_a_process_is_killed_before_root_when_memory_is_short(template: RealTemplate) -> None:
    """oom_score_adj is 300 in workers, and as it was in the template."""
    assert conditions(template)["oom"] == 300
    own = Path("/proc/self/oom_score_adj").read_text()
    assert Path(f"/proc/{template.pid}/oom_score_adj").read_text() == own


def test_settings_are_applied(template: RealTemplate, tmp_path: Path) -> None:
    """Umask, nice, rlimits, affinity, directory and environment are as the Child says."""
    processor = min(os.sched_getaffinity(0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    said = conditions(
        template,
        Settings(
            env={"ADDED": "yes", "REMOVED": None},
            cwd=str(tmp_path),
            umask=0o027,
            nice=3,
            rlimits={"nofile": (100, hard)},
            cpu_affinity=[processor],
        ),
    )
    assert (said["umask"], said["nice"], said["cwd"]) == (0o027, 3, str(tmp_path))
    assert (said["nofile"], said["cpus"]) == ([100, hard], [processor])
    assert (said["env"]["ADDED"], said["env"]["REMOVED"]) == ("yes", None)
    after = conditions(template)  # and only in that one
    assert (after["umask"], after["nice"], after["cwd"]) == (0o077, os.nice(0), str(APPS))


def test_a_setting_that_cannot_be_applied_is_told(template: RealTemplate) -> None:
    """A directory that is not there: Failed says so, and the author's code does not run."""
    process = template.spawn("process_entries:say_pid", settings=Settings(cwd="/no/such/place"))
    failed = process.message(links.Failed)
    assert failed.exception == "FileNotFoundError"
    assert "/no/such/place" in failed.message
    assert os.waitstatus_to_exitcode(template.exited(process).status) == 1
    assert process.said == b""


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1:strict"},
    ],
)
def test_text_is_utf8_in_every_locale(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """Cron, minimal containers, odd settings: file names, files and output are UTF-8 in workers."""
    monkeypatch.chdir(APPS)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with RealTemplate() as template:
        streams = [["utf-8", "surrogateescape"], ["utf-8", "backslashreplace"]]
        assert conditions(template)["utf8"] == [1, "utf-8", "utf-8", *streams]
        process = template.spawn("process_entries:print_euro")
        assert process.line() == "caf\u00e9 \u20ac"


def test_processes_do_not_draw_the_same_random_numbers(template: RealTemplate) -> None:
    """The generator of each process is seeded anew."""
    drawn = {conditions(template)["random"] for _ in range(5)}
    assert len(drawn) == 5


# --- identity ---------------------------------------------------------------------------------


@ROOT_ONLY
@pytest.mark.parametrize("user", ["nobody", 65534])
def test_privileges_are_given_up_for_good(template: RealTemplate, user: str | int) -> None:
    """All ids, no group besides, no capability, no_new_privs, no way back; its /proc is its own."""
    template.load("process_tree:tree")  # as root: the interpreter may be where nobody may read
    process = template.spawn(
        Node("shop/identity"), app="process_tree:tree", settings=Settings(user=user)
    )
    said = json.loads(process.line())
    assert said["Uid"] == [NOBODY] * 4
    assert said["Gid"] == [NOBODY] * 4
    assert said["Groups"] == []
    assert said["NoNewPrivs"] == ["1"]
    assert int(said["CapEff"][0], 16) == 0
    assert not said["again"]
    assert said["home"] != os.environ["HOME"]
    assert said["fds"] >= 5  # it may look into its /proc/self/fd: the queues are reached so


@ROOT_ONLY
def test_a_program_runs_as_its_user(template: RealTemplate) -> None:
    """The same for an executed program."""
    settings = Settings(user="nobody", group="root")
    process = template.spawn(Command(["sh", "-c", "id -u; id -g; id -G"]), settings=settings)
    assert [process.line() for _ in range(3)] == [NOBODY, "0", "0"]


@ROOT_ONLY
@pytest.mark.parametrize("settings", [Settings(user="no-such-user"), Settings(group="no-such")])
def test_an_unknown_user_or_group_runs_nothing(template: RealTemplate, settings: Settings) -> None:
    """Fail closed: the code does not run as root instead."""
    process = template.spawn("process_entries:say_pid", settings=settings)
    assert "no-such" in process.message(links.Failed).message
    template.exited(process)
    assert process.said == b""


@ROOT_ONLY
def test_a_drop_that_does_not_take_effect_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel does not confirm what the calls returned, the process ends (CVE-2023-6507)."""
    from supervisor.errors import StartError
    from supervisor.process import settings

    for call in ("setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, call, lambda *_: None)
    monkeypatch.setattr(settings, "prctl", lambda *_: None)
    monkeypatch.setattr(settings, "die_with", lambda *_: None)
    with pytest.raises(StartError, match="were not dropped"):
        settings.become(65534, 65534)


# --- stacks -----------------------------------------------------------------------------------


def dumped(template: RealTemplate, process: RealProcess, function: str) -> str:
    """Ask for the stacks of a process until it is where it is going to; return the last."""
    written = ""
    while f"in {function}\n" not in written[-2000:]:
        template.client.signal(process.serial, DUMP_SIGNAL)
        before = written
        while (written := process.wrote_stacks()) == before or not written.endswith("\n"):
            os.sched_yield()
    template.client.signal(process.serial, signal.SIGKILL)
    template.exited(process)
    return process.wrote_stacks()[-2000:]


def test_a_deadlocked_main_thread_says_where(template: RealTemplate) -> None:
    """All threads are dumped though the main thread never runs Python code again."""
    process = template.spawn("process_entries:deadlock")
    assert process.line() == "locked"
    stacks = dumped(template, process, "_lock_twice")
    assert "in wait\n" in stacks  # the helper, in threading


def test_a_held_gil_does_not_prevent_the_dump(template: RealTemplate) -> None:
    """faulthandler's handler is C: it runs in a thread that sits in C code with the GIL."""
    process = template.spawn("process_entries:hold_the_gil")
    assert process.line() == "holding"
    assert "process_entries.py" in dumped(template, process, "hold_the_gil")


def test_a_fault_leaves_its_stack(template: RealTemplate) -> None:
    """SIGSEGV writes the stacks before the process dies of it."""
    process = template.spawn("process_entries:end", b"segv")
    assert os.waitstatus_to_exitcode(template.exited(process).status) == -signal.SIGSEGV
    stacks = process.wrote_stacks()
    assert "Segmentation fault" in stacks
    assert "in end" in stacks
