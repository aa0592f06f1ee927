"""What dead workers leave behind: temp directories, core files; and what is not to be touched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.janitor.leftovers import core_name, prune, remove_abandoned
from supervisor.janitor.removal import MAX_DEPTH, Remover
from supervisor.janitor.sweep import Keep
from supervisor.process import tempdir
from supervisor.process.family import first_tag

CORE = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\x00" + bytes(100)
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + bytes(100)
#: Sets its tag, says so, and lives until its standard input is closed.
TAGGED = "import sys; from supervisor.process.family import set_tag; set_tag(int(sys.argv[1]));"
TAGGED += "print(flush=True); sys.stdin.read()"


def a_dead_pid() -> int:
    """Return the pid of a process that has ended and was reaped."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_directory_is_removed_when_its_process_is_dead_and_not_before(tmp_path: Path) -> None:
    """Those of the living stay, whatever else has their pid; those of the dead go, of any run."""
    tag = first_tag() + 7
    with subprocess.Popen(
        [sys.executable, "-c", TAGGED, str(tag)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as living:
        assert living.stdout is not None
        living.stdout.readline()
        dead = a_dead_pid()
        mine, reused = f"abcd.{living.pid}.7", f"0123.{living.pid}.6"
        for name in (mine, f"{mine}-1", reused, f"abcd.{dead}.1", f"0123.{dead}.ff-2", "not.ours"):
            (tmp_path / name / "below").mkdir(parents=True)
            (tmp_path / name / "below" / "file").write_bytes(b"x" * 5000)
        outcome = remove_abandoned(str(tmp_path))
        assert sorted(os.listdir(tmp_path)) == sorted([mine, f"{mine}-1", "not.ours"])
        assert (outcome.removed, outcome.files, outcome.problem) == (3, 3, "")
        assert outcome.removed_bytes >= 3 * 5000
        living.communicate()
    assert remove_abandoned(str(tmp_path)).removed == 2
    assert os.listdir(tmp_path) == ["not.ours"]


def test_a_process_without_a_tag_of_ours_is_left_alone(tmp_path: Path) -> None:
    """Who has changed its own limits is not known by them: its directory stays."""
    (tmp_path / f"abcd.{os.getpid()}.9").mkdir()
    assert remove_abandoned(str(tmp_path)).removed == 0


def test_links_are_removed_and_never_followed(tmp_path: Path) -> None:
    """A symbolic link in, or in place of, a directory costs nothing that it points to."""
    outside, top = tmp_path / "outside", tmp_path / "top"
    doomed = top / f"abcd.{a_dead_pid()}.1"
    outside.mkdir()
    (outside / "precious").write_text("x")
    doomed.mkdir(parents=True)
    (doomed / "link").symlink_to(outside)
    (doomed / "file").symlink_to(outside / "precious")
    (top / f"abcd.{a_dead_pid()}.2").symlink_to(outside)
    assert remove_abandoned(str(top)).problem == ""
    assert not doomed.exists()
    assert (outside / "precious").read_text() == "x"
    (tmp_path / "base").symlink_to(top)
    with pytest.raises(OSError, match="base"):
        remove_abandoned(str(tmp_path / "base"))


def test_no_depth_is_too_much_and_closed_directories_are_opened(tmp_path: Path) -> None:
    """A chain of a thousand directories, and one that its owner may not enter, are removed."""
    doomed = tmp_path / f"abcd.{a_dead_pid()}.1"
    doomed.mkdir()
    here = os.open(doomed, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deepest", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=here))
    os.close(here)
    (doomed / "closed" / "below").mkdir(parents=True)
    (doomed / "closed").chmod(0)
    assert 3 * MAX_DEPTH < 1000
    outcome = remove_abandoned(str(tmp_path))
    assert (outcome.removed, outcome.problem) == (1, "")
    assert os.listdir(tmp_path) == []


def test_the_work_of_one_turn_is_bounded(tmp_path: Path) -> None:
    """What is beyond a turn's limit is for the next."""
    (tmp_path / "doomed").mkdir()
    for number in range(50):
        (tmp_path / "doomed" / str(number)).touch()
    top = os.open(tmp_path, os.O_RDONLY)
    try:
        first = Remover(top, steps=20)
        assert not first.remove("doomed")
        assert len(os.listdir(tmp_path / "doomed")) == 30
        assert Remover(top, steps=60).remove("doomed")
    finally:
        os.close(top)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("pattern", "uses_pid", "names", "others"),
    [
        ("core", False, ["core"], ["core.1", "score", "core.py"]),
        ("core", True, ["core", "core.123"], ["core.x"]),
        ("core.%e.%p", False, ["core.python3.12"], ["core", "core.a"]),
        ("%p-%t%%", True, ["1-2%"], ["1-2"]),
    ],
)
def test_core_files_are_known_by_the_kernels_pattern(
    pattern: str, uses_pid: bool, names: list[str], others: list[str]
) -> None:
    """Numbers for %p and the like, names for %e; a literal part as it is."""
    found = core_name(pattern, uses_pid)
    assert found is not None
    assert [name for name in names + others if found.fullmatch(name)] == names


@pytest.mark.parametrize("pattern", ["|/usr/lib/systemd/systemd-coredump %P", "/var/crash/%p", ""])
def test_core_files_elsewhere_are_not_ours_to_remove(pattern: str) -> None:
    """A program takes them, or one directory those of the whole machine."""
    assert core_name(pattern, False) is None


def test_the_newest_core_files_are_kept(tmp_path: Path) -> None:
    """By count over all directories; a file that is no core, or a link, is not touched."""
    name = core_name("core.%p", False)
    assert name is not None
    folders = [tmp_path / "a", tmp_path / "b"]
    for number in range(6):
        core = folders[number % 2] / f"core.{number}"
        core.parent.mkdir(exist_ok=True)
        core.write_bytes(CORE)
        os.utime(core, (1000 + number, 1000 + number))
    (folders[0] / "core.90").write_bytes(PROGRAM)
    (folders[0] / "core.91").write_text("of the poodle")
    (folders[0] / "core.92").symlink_to(folders[1] / "core.5")
    os.utime(folders[0] / "core.90", (1, 1))
    outcome = prune([*map(str, folders), str(tmp_path / "none")], name, Keep(max_files=2))
    assert (outcome.removed, outcome.files) == (4, 2)
    assert sorted(path.name for path in folders[1].iterdir()) == ["core.5"]
    left = ["core.4", "core.90", "core.91", "core.92"]
    assert sorted(path.name for path in folders[0].iterdir()) == left


@pytest.mark.parametrize("wrong", ["long", "link", "open", "file"])
def test_a_place_that_will_not_do_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Too long for a socket below it, a link, open to others, no directory: the system's it is."""
    monkeypatch.setenv(tempdir.VARIABLE, "left over")
    monkeypatch.setattr(tempdir, "MAX_BASE", 1000)
    place = tmp_path / wrong
    match wrong:
        case "long":
            place = tmp_path / ("x" * 200) / ("x" * 200) / ("x" * 200) / ("x" * 200) / ("x" * 200)
        case "link":
            place.symlink_to(tmp_path)
        case "open":
            place.mkdir()
            place.chmod(0o777)
        case _:
            place.touch()
    assert str(place) in tempdir.begin(str(place), "abcdef")
    assert tempdir.base() is None
