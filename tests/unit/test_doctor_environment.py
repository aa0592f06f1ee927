"""What `doctor` says of a machine: what it lacks, and what is lost for that."""

import resource

import pytest

from supervisor.descriptors import BASE, PER_SLOT
from supervisor.doctor import environment, proc
from supervisor.doctor.environment import Finding
from supervisor.recycling import machine
from supervisor.root import descriptors

PROC = "46 44 0:21 / /proc rw,relatime - proc proc rw"


def found(name: str) -> Finding | None:
    """Return one check, if it is made."""
    return {one.name: one for one in environment.examine()}.get(name)


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ([PROC], ""),
        ([PROC, f"{PROC},hidepid=invisible,gid=7"], "hidepid=invisible"),
        ([f"{PROC},hidepid=2,gid=7", PROC], ""),  # what is on top counts
        ([f"{PROC},gid=7,hidepid=1"], "hidepid=1"),
        ([f"{PROC},hidepid=off,gid=7"], ""),
        ([f"{PROC},hidepid=2"], ""),  # group 0, which we are in, sees all
        ([f"{PROC},hidepid=2,gid=4"], ""),
        (["46 44 0:21 / /proc/sys rw - proc proc rw,hidepid=2,gid=7"], ""),
    ],
)
def test_what_proc_hides_is_read_from_its_mount(mounts: list[str], expected: str) -> None:
    """By the mount that is on top; not from members of the group that it names."""
    assert proc.hidden(mounts, {0, 4}) == expected


def test_without_proc_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of bytes where nothing could be read; a warning that says so."""
    monkeypatch.setattr(machine, "_MEMORY", "/nowhere")
    monkeypatch.setattr(machine, "_confinements", list)
    monkeypatch.setattr(machine, "pressure_files", lambda: ["/nowhere"])
    monkeypatch.setattr(proc, "_STATUS", "/nowhere")
    assert (machine.total(), machine.available(), machine.budget()) == (None, None, None)
    assert machine.pressure() is None
    assert machine.reserve() > 0
    memory, whole = found("memory"), found("proc")
    assert memory is not None
    assert whole is not None
    assert (memory.word, memory.found) == ("warn", "not known")
    assert (whole.word, whole.found) == ("warn", "missing")
    assert "outlives the app" in whole.means


def test_a_limit_is_known_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a cgroup is what there is, whether or not the machine's memory is known."""
    monkeypatch.setattr(machine, "_MEMORY", "/nowhere")
    monkeypatch.setattr(machine, "_confinements", lambda: [(1000, 400), (900, 100)])
    assert (machine.total(), machine.available()) == (900, 600)


@pytest.mark.parametrize(
    ("hard", "word"),
    [
        (resource.RLIM_INFINITY, "ok"), (1024, "ok"), (BASE + 3 * PER_SLOT, "warn"),
        (BASE + PER_SLOT - 1, "fail"),
    ],
)  # fmt: skip
def test_descriptors_are_counted_as_the_start_counts_them(
    hard: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hard limit counts: an app raises the soft one. What is needed has one truth."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (64, hard))
    files = found("open files")
    assert files is not None
    assert files.word == word
    if word == "warn":
        assert files.means.startswith(f"each slot takes {descriptors.PER_SLOT}: a supervisor")
        assert "of more than 3 needs" in files.means
