"""The roster of templates: what dead ones have left is ended, and nobody else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.process import roster
from supervisor.process.family import first_tag

WAITS = """
import signal, sys
from supervisor.process.family import set_tag
set_tag(int(sys.argv[1]))
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Be in an app that has a runtime directory."""
    monkeypatch.setenv("SUPERVISOR_CONTROL", str(tmp_path / "control.sock"))
    return str(tmp_path)


@contextmanager
def tagged(tag: int) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that carries a tag, as one that has escaped."""
    command = [sys.executable, "-c", WAITS, str(tag)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def dead_pid() -> int:
    """Return the pid of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def enter(directory: str, pid: int) -> None:
    """Write a pid into the roster."""
    with open(os.path.join(directory, roster.FILE), "a") as file:
        file.write(f"{pid}\n")


def test_what_a_dead_template_has_left_is_killed(directory: str) -> None:
    """Known by its tag; how many it was is told."""
    pid = dead_pid()
    with tagged(pid << 32 | 7) as orphan:
        enter(directory, pid)
        assert roster.sweep() == 1
        assert orphan.wait() == -signal.SIGKILL
        assert roster.sweep() == 0


def test_a_template_that_lives_looks_after_its_own(directory: str) -> None:
    """Or a stranger has its number by now: what carries that is not ours to end."""
    roster.join()
    with tagged(first_tag() | 7) as worker:
        assert roster.sweep() == 0
        assert worker.poll() is None


@pytest.mark.parametrize("text", ["", "x\n-1\n\xff\n", "99999999999999999999\n"])
def test_a_roster_that_makes_no_sense_names_nobody(directory: str, text: str) -> None:
    """Nothing is killed, nothing raised; without one it is the same."""
    assert roster.sweep(directory) == 0
    Path(directory, roster.FILE).write_text(text)
    assert roster.sweep(directory) == 0


def test_a_link_in_its_place_is_not_followed(directory: str, tmp_path: Path) -> None:
    """Neither written nor read."""
    victim = tmp_path / "victim"
    victim.write_text("")
    Path(directory, roster.FILE).symlink_to(victim)
    roster.join()
    assert victim.read_text() == ""


def test_what_is_over_is_forgotten(directory: str) -> None:
    """The file goes; twice is no fault."""
    roster.join()
    assert os.stat(os.path.join(directory, roster.FILE)).st_mode & 0o777 == 0o600
    roster.forget(directory)
    roster.forget(directory)
    assert os.listdir(directory) == []


def test_a_parent_that_is_about_to_end_is_seen_before_its_children_are_given_away() -> None:
    """Who closes its end by dying is told from who closes it and lives."""
    assert not roster.is_ending(os.getppid())
    assert roster.is_ending(dead_pid())
    told, tell = os.pipe()
    closed, held = os.pipe()
    parent = os.fork()
    if parent == 0:
        us = os.getpid()
        if os.fork() == 0:
            os.close(held)
            os.read(closed, 1)  # the end of what the parent had open, no more
            os.write(tell, b"ending" if roster.is_ending(us) else b"alive")
            os._exit(0)
        os._exit(0)
    os.close(held)
    os.close(tell)
    assert os.read(told, 10) == b"ending"
    os.waitpid(parent, 0)
    os.waitpid(-1, 0)  # the other one is ours now
    os.close(told)
    os.close(closed)
