"""Who makes the memory cgroups of workers: one arbiter after the other."""

import errno
import os
from pathlib import Path

import pytest

from supervisor.recycling import backstop, machine
from supervisor.recycling.backstop import Backstop

#: Processes of which these tests say that they are workers.
US, PARENT = os.getpid(), os.getppid()


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is our memory cgroup, and a kernel that keeps what is written there."""

    def write(path: str, value: int) -> None:
        Path(path).write_text(str(value))

    monkeypatch.setattr(machine, "cgroup", lambda: (str(tmp_path), True))
    monkeypatch.setattr(backstop, "confinement", lambda pid: f"{tmp_path}/letitcrash-{pid}")
    monkeypatch.setattr(backstop, "_write", write)
    return tmp_path


def limit_of(group: Path, pid: int) -> int:
    """Return what the kernel lets a worker have."""
    return int((group / f"letitcrash-{pid}" / "memory.max").read_text())


def test_an_arbiter_takes_over_the_cgroups_of_the_one_before(group: Path) -> None:
    """A reload ends it, a kill too: workers live on in theirs, and later ones are confined."""
    Backstop().confine({US: 1000})
    successor = Backstop()
    successor.confine({US: 2000, PARENT: 1000})
    assert successor.enabled
    assert limit_of(group, US) == 2300
    assert limit_of(group, PARENT) == 1150


@pytest.mark.parametrize(("error", "enabled"), [(errno.EBUSY, True), (errno.EACCES, False)])
def test_only_a_kernel_that_forbids_it_is_not_asked_again(
    group: Path, monkeypatch: pytest.MonkeyPatch, error: int, enabled: bool
) -> None:
    """EBUSY: this worker has more than that by now, which says nothing about the next one."""

    def refuse(_path: str, _value: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(backstop, "_write", refuse)
    first = Backstop()
    first.confine({US: 1000})
    assert first.enabled is enabled
