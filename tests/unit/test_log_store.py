"""The store of log files, while others, and its own compressor, change them under its hands."""

import gzip
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.logs import codec
from supervisor.logs.store import LogStore
from tests.log_files import options

CHILD = "shop/a"
LINES = b'{"event":"x"}\n' * 1000


class Desk:
    """A store in a directory, and what tells of its compressor."""

    def __init__(self, directory: Path, epoll: select.epoll, **more: object) -> None:
        self.directory, self.epoll = directory / CHILD, epoll
        self.store = LogStore(options(directory, **more), epoll)
        self.now = 1000.0

    def write(self, data: bytes = LINES) -> None:
        """Write lines of the child's."""
        self.store.open(CHILD, len(data)).write(data)
        self.store.wrote(CHILD, len(data))

    def compress(self) -> None:
        """Have the oldest file compressed, but do not take note of the compressor's end."""
        self.now += 1000.0
        self.store.tend(self.now)
        assert self.epoll.poll(20.0)

    def archives(self) -> dict[str, int]:
        """List the closed files on the disk: name to size."""
        return {path.name: path.stat().st_size for path in self.directory.glob("@*")}

    def held(self) -> dict[str, int]:
        """List the closed files that the store knows of."""
        return {archive.name: archive.size for archive in self.store.held[CHILD].archives}

    def agrees(self) -> bool:
        """Whether the store knows what is there, and counts each byte once."""
        sizes = sum(held.size for held in self.store.held.values())
        return self.held() == self.archives() and self.store.used == sizes + self.ballast

    @property
    def ballast(self) -> int:
        """Bytes held back."""
        return (self.directory.parents[1] / ".ballast").stat().st_size


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Make a store that compresses with gzip, and has one closed file."""
    monkeypatch.setattr(codec, "zstd", lambda: None)
    with select.epoll() as epoll:
        one = Desk(tmp_path / "logs", epoll, compress=True)
        one.write()
        one.store.rotate(CHILD)
        yield one


def test_a_compressed_file_that_was_seen_before_its_compressor_ended_is_kept(desk: Desk) -> None:
    """The child's file was opened anew in between, and its directory looked at."""
    desk.compress()
    (desk.directory / "current.jsonl").rename(desk.directory / "rotated-by-others")
    desk.write()
    desk.store.compressed(desk.now)
    (name,) = desk.archives()
    assert gzip.decompress((desk.directory / name).read_bytes()) == LINES
    assert desk.agrees()
    desk.store.close()


def test_a_compressor_at_work_is_not_disturbed_by_an_opening(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its unfinished file is left to it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    compress = codec.compress

    def wait_and_compress(source: int, target: int, kind: str) -> None:
        os.close(os.open(gate, os.O_RDONLY))  # when the other end is opened
        compress(source, target, kind)

    monkeypatch.setattr(codec, "compress", wait_and_compress)
    desk.store.tend(desk.now)
    (desk.directory / "current.jsonl").unlink()
    desk.write()
    os.close(os.open(gate, os.O_WRONLY))
    assert desk.epoll.poll(20.0)
    desk.store.compressed(desk.now)
    (name,) = desk.archives()
    assert gzip.decompress((desk.directory / name).read_bytes()) == LINES
    assert desk.agrees()
    desk.store.close()


@pytest.mark.parametrize("stopped", [True, False])
def test_nothing_is_left_of_a_file_that_was_deleted_while_it_was_compressed(
    desk: Desk, stopped: bool
) -> None:
    """Neither when its compressor ends, nor when the store is closed before that is noticed."""
    desk.compress()
    desk.store.delete(CHILD, desk.store.held[CHILD].archives[0])
    if not stopped:
        desk.store.compressed(desk.now)
        assert desk.agrees()
    desk.store.close()
    assert not desk.archives()


def test_a_deleted_file_ends_its_compressor_without_a_cooldown(desk: Desk) -> None:
    """It did not fail: nobody wants what it does."""
    desk.store.tend(desk.now)
    desk.store.delete(CHILD, desk.store.held[CHILD].archives[0])
    assert desk.epoll.poll(20.0)
    desk.store.compressed(desk.now)
    compressor = desk.store.compressor
    assert compressor is not None
    assert compressor.may_start(desk.now)
    assert not desk.archives()
    desk.store.close()


@pytest.mark.parametrize("gone", ["file", "directory"])
def test_a_silent_child_whose_file_others_removed_does_not_stop_the_rest(
    desk: Desk, gone: str
) -> None:
    """It is old enough to be rotated, but is not there: its directory or the file was removed."""
    desk.write()
    desk.store.files[CHILD].born = time.time() - 48 * 3600
    for path in list(desk.directory.iterdir()):
        path.unlink()
    if gone == "directory":
        desk.directory.rmdir()
    desk.store.tend(desk.now)
    assert desk.store.files[CHILD].size == 0
    assert desk.store.used == desk.ballast
    desk.store.close()


def test_the_ballast_is_held_again_when_there_is_room(desk: Desk) -> None:
    """The disk may be full a second time."""
    held = desk.ballast
    assert desk.store.release_ballast()
    assert not desk.store.release_ballast()
    used = desk.store.used
    desk.store.tend(desk.now)
    assert desk.ballast == held == desk.store.used - used
    desk.store.close()


def test_room_is_not_sought_in_a_file_that_others_removed(tmp_path: Path) -> None:
    """The largest file being written is gone: what was counted of it is room."""
    with select.epoll() as epoll:
        desk = Desk(tmp_path / "logs", epoll, max_use=64 * 1024)
        desk.write()
        (desk.directory / "current.jsonl").unlink()
        desk.store.make_room(64 * 1024 - desk.ballast)
        assert desk.store.used == desk.ballast
        desk.store.close()
