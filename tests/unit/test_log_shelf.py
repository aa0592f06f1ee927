"""Reading kept files: those that were rotated in the middle of a line, are damaged, or unsafe."""

import errno
import gzip
import json
import os
import resource
from pathlib import Path

import pytest

from supervisor.logs.catalog import choose
from supervisor.logs.entry import Entry, Wanted, entry
from supervisor.logs.follower import READ, Follower
from supervisor.logs.shelf import Shelf


class Files:
    """The files of one child, as a pump writes them."""

    def __init__(self, root: Path, path: str, name: str) -> None:
        self.directory = root / path
        self.directory.mkdir(parents=True)
        self.current = self.directory / name
        self.middle = name.removeprefix("current").removesuffix(".jsonl")
        self.shelf = Shelf(str(root), path)
        self.closed = 0

    def write(self, data: bytes) -> None:
        """Add to the file being written."""
        with open(self.current, "ab") as file:
            file.write(data)

    def rotate(self, *, compress: bool = False) -> None:
        """Close it, and begin a new one."""
        self.closed += 1
        stem = f"@{self.closed:016d}{self.middle}"
        closed = self.directory / f"{stem}.u"
        self.current.rename(closed)
        self.current.touch()
        if compress:
            (self.directory / f"{stem}.s.gz").write_bytes(gzip.compress(closed.read_bytes()))
            closed.unlink()


@pytest.fixture
def raw(tmp_path: Path) -> Files:
    """Those of a raw stream."""
    return Files(tmp_path, "shop/a/0.out", "current.log")


@pytest.fixture
def wrapped(tmp_path: Path) -> Files:
    """Those of JSON lines."""
    return Files(tmp_path, "shop/a", "current.jsonl")


def forwards(files: Files) -> list[str]:
    """Read the texts of all lines."""
    return [line.event for line in files.shelf.all()]


def backwards(files: Files) -> list[str]:
    """Read them the other way."""
    found: list[str] = []
    for lines in files.shelf.backwards():
        found = [line.event for line in lines] + found
    return found


@pytest.mark.parametrize("compress", [True, False])
def test_a_raw_line_that_goes_over_a_rotation_is_one_line(raw: Files, compress: bool) -> None:
    """Or over two of them; whichever way they are read, and followed."""
    follower = Follower(raw.shelf, from_start=True)
    followed: list[Entry] = []
    for piece in (b"one\ntw", b"o", b"o\nthree\n", b"four\nfi"):
        raw.write(piece)
        followed += follower.poll()
        raw.rotate(compress=compress)
        followed += follower.poll()
    raw.write(b"ve\nsix")
    followed += follower.poll()
    follower.close()
    assert forwards(raw) == ["one", "twoo", "three", "four", "five"]
    assert [line.event for line in followed] == ["one", "twoo", "three", "four", "five"]


def test_the_last_raw_lines_are_whole(raw: Files) -> None:
    """Read backwards, as far as is wanted."""
    for piece in (b"one\ntw", b"o\nthree\n", b"four\nfi"):
        raw.write(piece)
        raw.rotate(compress=True)
    raw.write(b"ve\n")
    assert backwards(raw) == forwards(raw) == ["one", "two", "three", "four", "five"]


@pytest.mark.parametrize("compress", [True, False])
def test_files_that_begin_the_same_are_told_apart(raw: Files, compress: bool) -> None:
    """Raw lines have no time: two files may begin with the same bytes, however many."""
    same = b"tick\n" * 2000
    follower = Follower(raw.shelf)
    raw.write(same)
    assert len(follower.poll()) == 2000
    raw.rotate(compress=compress)
    raw.write(same + b"tock\n")
    raw.rotate(compress=compress)
    assert len(follower.poll()) == 2001
    follower.close()


def test_a_follower_that_paused_takes_one_file_at_a_time(wrapped: Files) -> None:
    """However much was written meanwhile: that is all it has in memory."""
    follower = Follower(wrapped.shelf)
    for number in range(5):
        wrapped.write(b'{"event":"%d"}\n' % number)
        wrapped.rotate(compress=number % 2 == 0)
    found = [[line.event for line in follower.poll()]]
    while follower.behind:
        found.append([line.event for line in follower.poll()])
    assert found == [["0"], ["1"], ["2"], ["3"], ["4"]]
    wrapped.write(b'{"event":"5"}\n')
    assert [line.event for line in follower.poll()] == ["5"]
    follower.close()


def test_a_raw_line_of_any_length_is_followed_in_pieces(raw: Files) -> None:
    """And what comes after it."""
    follower = Follower(raw.shelf, from_start=True)
    raw.write(b"x" * (2 * READ + 1) + b"\nafter\n")
    assert [len(line.event) for line in follower.poll()] == [READ, READ, 1, 5]
    assert [len(text) for text in forwards(raw)] == [READ, READ, 1, 5]
    follower.close()


def test_a_damaged_archive_costs_its_own_lines_only(wrapped: Files) -> None:
    """What cannot be read is said in its place."""
    for number in range(3):
        wrapped.write(b'{"event":"%d"}\n' % number)
        wrapped.rotate(compress=True)
    archive = wrapped.directory / "@0000000000000002.s.gz"
    archive.write_bytes(archive.read_bytes()[:-10])
    assert forwards(wrapped) == backwards(wrapped)
    first, *others, last = forwards(wrapped)
    assert (first, last) == ("0", "2")
    assert others[-1] == f"the rest of {archive.name} cannot be read"


def test_a_damaged_raw_archive_ends_neither_a_reading_nor_a_following(raw: Files) -> None:
    """Wherever it comes."""
    follower = Follower(raw.shelf)
    for number in range(2):
        raw.write(b"%d\n" % number)
        raw.rotate(compress=True)
        archive = raw.directory / f"@{number + 1:016d}.log.s.gz"
        archive.write_bytes(archive.read_bytes()[:-10])
    raw.write(b"2\n")
    found = follower.poll()
    while follower.behind:
        found += follower.poll()
    follower.close()
    assert found[-1].event == backwards(raw)[-1] == "2"


def test_files_that_we_cannot_open_are_not_taken_for_none(wrapped: Files) -> None:
    """Lines would be missing, and nobody would know."""
    wrapped.write(b'{"event":"x"}\n')
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            wrapped.shelf.snapshot()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    "line", [b"torn \x1b[2J", b'{"event":"\xc2\x9b2J \xe2\x80\xae"}', b'{"event":"\x7f"}', b"\xff"]
)
def test_json_is_json_and_safe_on_a_terminal(raw: Files, line: bytes) -> None:
    """Also of lines that nobody has wrapped."""
    raw.write(line + b"\n")
    for found in (entry(line), next(raw.shelf.all())):
        assert json.loads(found.text)["event"] == found.event
        assert found.text.isascii()
        assert found.text.decode().isprintable()


def test_a_slot_and_other_children_may_be_chosen_together() -> None:
    """Lines of the others are not those of that slot."""
    known = ["shop/a", "shop/b", "shop/c"]
    chosen, slots = choose(known, ("shop/a.1", "shop/b"))
    assert chosen == ["shop/a", "shop/b"]
    matches = Wanted(slots=slots).matcher()
    paths = ["shop/a.0", "shop/a.1", "shop/b.0"]
    lines = [Entry("", b"", {"source": {"path": path}}) for path in paths]
    assert [line.path for line in filter(matches, lines)] == ["shop/a.1", "shop/b.0"]
    assert choose(known, ("shop/a.1", "shop"))[1] == ()
    raw_files = ["shop/a/0.out", "shop/a/1.out"]
    assert choose(raw_files, ("shop/a.1", "shop")) == (raw_files, ())


def test_marks_of_a_slot_are_its_lines() -> None:
    """Who looks at one slot sees what is missing of it, and not what of others."""
    source = {"path": "runtime/pump"}
    marks = [
        Entry("", b"", {"event": "9 lines dropped", "source": source, "child": f"shop/a.{slot}"})
        for slot in range(2)
    ]
    for wanted in (Wanted(slots=("shop/a.1",)), Wanted(slot=1)):
        assert list(filter(wanted.matcher(), marks)) == marks[1:]
