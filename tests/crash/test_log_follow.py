"""Reading and following files while a real pump writes, rotates and compresses them."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.logs.entry import PUMP, Entry, Wanted
from supervisor.logs.follower import Follower
from supervisor.logs.rotation import SEQUENCE
from supervisor.logs.shelf import Shelf
from tests.log_files import options
from tests.pump_process import PumpProcess, log_pipe

KiB, MiB = 1 << 10, 1 << 20
TOTAL = 30_000


class Flooded:
    """A pump that is written numbered lines."""

    def __init__(self, pump: PumpProcess, write: int, root: Path) -> None:
        self.pump, self.root, self._write = pump, root, write
        self.shelf = Shelf(str(root), "shop/a")
        self._pause = threading.Event()

    def lines(self, start: int, stop: int) -> None:
        """Write lines, not faster than somebody can look."""
        for first in range(start, stop, 100):
            os.write(self._write, b"".join(b"line %d\n" % n for n in range(first, first + 100)))
            self._pause.wait(0.0005)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the pump."""
        for _ in range(4000):
            if condition():
                return
            self._pause.wait(0.005)
        raise AssertionError("it did not happen")


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[Flooded]:
    """A pump with small files, that compresses them."""
    read, write = log_pipe()
    out = os.open(os.devnull, os.O_WRONLY)
    kept = options(tmp_path / "logs", max_use=64 * MiB, segment=64 * KiB, compress=True)
    with PumpProcess(out, format="none", files=kept) as pump:
        pump.source(1, "shop/a.0", "stdout", read)
        yield Flooded(pump, write, tmp_path / "logs")
        assert pump.stop() == 0
    for fd in (read, write, out):
        os.close(fd)


def test_each_line_is_followed_once_over_rotations(flooded: Flooded) -> None:
    """However often the file is rotated and compressed between two looks."""
    flooded.lines(0, 100)
    flooded.until(lambda: len(list(flooded.shelf.all())) == 100)
    follower = Follower(flooded.shelf)
    writer = threading.Thread(target=flooded.lines, args=(100, TOTAL))
    writer.start()
    seen: list[str] = []

    def complete() -> bool:
        seen.extend(line.event for line in follower.poll())
        return len(seen) >= TOTAL - 100

    flooded.until(complete)
    writer.join()
    follower.close()
    assert seen == [f"line {n}" for n in range(100, TOTAL)]
    assert len(flooded.shelf.names()) > 20


def test_files_that_are_deleted_before_they_are_read_are_marked(tmp_path: Path) -> None:
    """Slower than a flood: what is missing is said, file by file, where it is missing."""
    read, write = log_pipe()
    out = os.open(os.devnull, os.O_WRONLY)
    kept = options(tmp_path / "logs", max_use=512 * KiB, segment=64 * KiB, compress=False)
    with PumpProcess(out, format="none", files=kept) as pump:
        pump.source(1, "shop/a.0", "stdout", read)
        flooded = Flooded(pump, write, tmp_path / "logs")
        flooded.lines(0, 100)
        flooded.until(lambda: len(list(flooded.shelf.all())) == 100)
        follower, seen = Follower(flooded.shelf, from_start=True), list[Entry]()

        def saw(text: str) -> bool:
            seen.extend(follower.poll())
            return text in {line.event for line in seen}

        assert saw("line 99")
        flooded.lines(100, 20_000)
        flooded.until(lambda: "line 19999" in {line.event for line in flooded.shelf.all()})
        flooded.until(lambda: saw("line 19999"))  # only now: what is read is not deleted any more
        follower.close()
        there = [name.stamp for name in flooded.shelf.names()]
        assert pump.stop() == 0
    for fd in (read, write, out):
        os.close(fd)
    [mark] = [line for line in seen if line.path == PUMP]
    at = seen.index(mark)
    lines = [int(line.event.split()[1]) for line in seen if line is not mark]
    assert lines[at] > lines[at - 1] + 1
    assert lines == [*range(lines[at - 1] + 1), *range(lines[at], 20_000)]
    # All were counted when they were closed: the first was being followed, the last are there.
    assert mark.fields["files"] == there[-1] % SEQUENCE - len(there) - 1
    assert (mark.about, mark.fields["level"]) == ("shop/a", "warning")
    assert Wanted(slot=0).matcher()(mark)


def test_a_reading_sees_each_line_once_whatever_is_rotated_meanwhile(flooded: Flooded) -> None:
    """Both ways of reading see a beginning of what was written, without gap or double."""
    writer = threading.Thread(target=flooded.lines, args=(0, TOTAL))
    writer.start()
    while writer.is_alive():
        forwards = [line.event for line in flooded.shelf.all()]
        assert forwards == [f"line {n}" for n in range(len(forwards))]
        backwards: list[str] = []
        for lines in flooded.shelf.backwards():
            backwards = [line.event for line in lines] + backwards
        assert backwards == [f"line {n}" for n in range(len(backwards))]
    writer.join()
    flooded.until(lambda: sum(1 for _ in flooded.shelf.all()) == TOTAL)


def test_a_truncated_or_deleted_file_is_followed_on(flooded: Flooded) -> None:
    """copytruncate, and an rm: what is written after that is seen."""
    current = flooded.root / "shop" / "a" / "current.jsonl"
    flooded.lines(0, 100)
    flooded.until(lambda: current.exists() and current.read_bytes().count(b"\n") == 100)
    follower = Follower(flooded.shelf)
    seen: list[str] = []

    def saw(text: str) -> bool:
        seen.extend(line.event for line in follower.poll())
        return text in seen

    os.truncate(current, 0)
    assert not saw("line 199")  # as everybody who follows: seen only if looked at in time
    flooded.lines(100, 200)
    flooded.until(lambda: saw("line 199"))
    current.unlink()
    flooded.lines(200, 300)
    flooded.until(lambda: saw("line 299"))
    follower.close()
    assert seen == [f"line {n}" for n in range(100, 300)]
