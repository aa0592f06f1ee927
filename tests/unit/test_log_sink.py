"""Files that cannot be written: a full disk, a read-only one, a directory of somebody else."""

import errno
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.logs import sink as subject
from supervisor.logs.bucket import Rate
from supervisor.logs.logfile import LogFile
from supervisor.logs.sink import MAX_KEPT, FileSink
from tests.log_files import content, documents, events, options

MiB = 1 << 20
HOME = "shop/a"


class Disk:
    """Stands between the files and the disk: says no when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.problem: int | None = None
        self.room: Callable[[], bool] = lambda: False
        real = LogFile.write

        def write(file: LogFile, data: bytes) -> None:
            if self.problem is not None and not self.room():
                raise OSError(self.problem, os.strerror(self.problem))
            real(file, data)

        monkeypatch.setattr(LogFile, "write", write)
        monkeypatch.setattr(subject, "RETRY", 0.0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that can fail."""
    return Disk(monkeypatch)


class Kept:
    """A sink, what it said, and what it has lost."""

    def __init__(self, directory: Path, **more: Any) -> None:
        self.said: list[str] = []
        self.lost: dict[str, int] = {}
        self.epoll = select.epoll()
        self.root = directory
        self.sink = FileSink(
            options(directory, **more),
            self.epoll,
            self.lost,
            lambda _, event, **__: self.said.append(event),
        )

    def put(self, text: str) -> None:
        """Write a line as the delivery does."""
        data = b'{"event":"%s"}\n' % text.encode()
        file = self.sink.prepare(HOME, len(data))
        if file is None:
            self.sink.keep(HOME, "shop/a.0", data, 1)
        else:
            self.sink.write(file, data, "shop/a.0", 1)

    @property
    def events(self) -> list[str]:
        """What is in the files."""
        return events(self.root / HOME)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """Files in a directory of the test's."""
    kept = Kept(tmp_path / "logs", max_use=8 * MiB, segment=256 * 1024)
    yield kept
    kept.sink.close()


def test_a_full_disk_first_gets_the_ballast_and_old_archives(kept: Kept, disk: Disk) -> None:
    """ENOSPC: what was held back is released, the oldest archive goes, and the line is written."""
    for n in range(10):
        kept.put(f"{n}" * 200_000)
    ballast = kept.root / ".ballast"
    before = len(list((kept.root / HOME).glob("@*")))
    assert ballast.stat().st_size > 0
    disk.problem, disk.room = errno.ENOSPC, lambda: not ballast.exists()
    kept.put("last words")
    assert kept.events[-1] == "last words"
    assert len(list((kept.root / HOME).glob("@*"))) == before - 1
    assert kept.said == []


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_lines_wait_in_memory_until_files_can_be_written(
    kept: Kept, disk: Disk, problem: int
) -> None:
    """The alarm is raised once; afterwards every line is there, in order."""
    kept.put("before")
    disk.problem = problem
    for n in range(100):
        kept.put(f"kept {n}")
    assert kept.lost == {"shop/a.0": 100}
    disk.problem = None
    kept.put("after")
    assert kept.events == ["before", *(f"kept {n}" for n in range(100)), "after"]
    assert kept.said == ["logs cannot be written to files", "logs are written to files again"]
    assert kept.lost == {}


def test_memory_is_bounded_and_what_does_not_fit_is_counted(kept: Kept, disk: Disk) -> None:
    """The newest lines are kept; a mark says how many are missing before them."""
    disk.problem = errno.ENOSPC
    size = 10_000
    total = 3 * MAX_KEPT // size
    for n in range(total):
        kept.put(f"{n} " + "x" * size)
    disk.problem = None
    kept.put("after")
    lines = documents(kept.root / HOME)
    mark, *others = lines
    assert mark["event"] == f"{mark['lines']} lines dropped"
    assert (mark["child"], mark["reason"]) == ("shop/a.0", "disk")
    assert mark["lines"] + len(others) - 1 == total
    assert others[-2]["event"].startswith(f"{total - 1} ")
    assert len(content(kept.root / HOME)) < 1.2 * MAX_KEPT


def test_the_trouble_of_one_child_is_not_that_of_others(kept: Kept) -> None:
    """A directory that cannot be used costs its own lines only."""
    (kept.root / "shop").mkdir(mode=0o700)
    (kept.root / HOME).write_text("a file where a directory should be")
    kept.put("nowhere")
    data = b'{"event":"fine"}\n'
    file = kept.sink.prepare("shop/b", len(data))
    assert file is not None
    kept.sink.write(file, data, "shop/b.0", 1)
    assert events(kept.root / "shop" / "b") == ["fine"]
    assert kept.said == ["logs cannot be written to files"]


def test_two_apps_do_not_share_a_directory(kept: Kept, tmp_path: Path) -> None:
    """The second is told, and keeps nothing there."""
    pid = os.fork()  # locks are a process's
    if pid == 0:
        second = Kept(tmp_path / "logs")
        os._exit(0 if second.said == ["logs cannot be written to files"] else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_who_waits_for_a_directory_keeps_nothing_open(kept: Kept, tmp_path: Path) -> None:
    """However often the second app tries to have it."""
    pid = os.fork()
    if pid == 0:
        second = Kept(tmp_path / "logs")
        before = len(os.listdir("/proc/self/fd"))
        for attempt in range(1, 10):
            second.sink.tend(time.monotonic() + 2.0 * attempt)
        os._exit(0 if len(os.listdir("/proc/self/fd")) == before else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_budget_that_is_used_up_by_few_takes_from_those(tmp_path: Path) -> None:
    """A loud child cannot delete what a quiet one has kept."""
    kept = Kept(tmp_path / "logs", max_use=MiB, segment=64 * 1024, rate=Rate())
    for name in ("shop/quiet", "shop/loud"):
        for n in range(5 if name == "shop/quiet" else 200):
            data = b'{"event":"%d %s"}\n' % (n, b"x" * 10_000)
            file = kept.sink.prepare(name, len(data))
            assert file is not None
            kept.sink.write(file, data, name, 1)
    kept.sink.close()
    assert [event.split()[0] for event in events(tmp_path / "logs/shop/quiet")] == list("01234")
    assert events(tmp_path / "logs/shop/loud")[-1].startswith("199 ")


def test_what_is_kept_of_a_slot_that_is_gone_is_written_when_that_can_be(
    kept: Kept, disk: Disk
) -> None:
    """A scale down while the disk is full costs no line."""
    kept.put("before")
    disk.problem = errno.ENOSPC
    kept.put("its last words")
    kept.sink.retire(HOME)
    disk.problem = None
    kept.sink.tend(time.monotonic() + 10.0)
    assert kept.events == ["before", "its last words"]
