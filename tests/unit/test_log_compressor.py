"""The compressor of closed files: one at a time, and not all of the time."""

import gzip
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.logs import codec
from supervisor.logs.compressor import COOLDOWN, DEADLINE, Compressor

NAME = "@0000000000000001.u"
TEXT = b'{"event":"x"}\n' * 1000


@pytest.fixture
def epoll() -> Iterator[select.epoll]:
    """Make what tells of its end."""
    with select.epoll() as one:
        yield one


@pytest.fixture
def compressor(epoll: select.epoll, monkeypatch: pytest.MonkeyPatch) -> Compressor:
    """Make one that has no zstd."""
    monkeypatch.setattr(codec, "zstd", lambda: None)
    return Compressor(epoll)


def run(compressor: Compressor, epoll: select.epoll, folder: Path) -> bool:
    """Have it compress a file at second 100; return whether that succeeded."""
    (folder / NAME).write_bytes(TEXT)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        compressor.start("shop/a", directory, NAME, 100.0)
        assert not compressor.may_start(100.0)
        assert epoll.poll(20.0)
        return compressor.ended(100.0)[1]
    finally:
        os.close(directory)


def test_the_next_file_may_follow_at_once(
    compressor: Compressor, epoll: select.epoll, tmp_path: Path
) -> None:
    """The rests are within the work on each."""
    assert run(compressor, epoll, tmp_path)
    (file,) = tmp_path.iterdir()
    assert gzip.decompress(file.read_bytes()) == TEXT
    assert compressor.may_start(100.0)
    assert compressor.timeout(100.0) is None


def test_it_rests_in_proportion_to_its_work_after_each_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody waits for the processor for longer than a piece takes."""
    clock = iter(range(100))
    rests: list[float] = []
    monkeypatch.setattr(time, "process_time", lambda: float(next(clock)))
    monkeypatch.setattr(time, "sleep", rests.append)
    (tmp_path / "from").write_bytes(b"x" * (2 * codec.CHUNK + 1))
    source = os.open(tmp_path / "from", os.O_RDONLY)
    target = os.open(tmp_path / "to", os.O_WRONLY | os.O_CREAT)
    codec.compress(source, target, "gzip")
    assert rests == [codec.REST] * 3
    assert gzip.decompress((tmp_path / "to").read_bytes()) == b"x" * (2 * codec.CHUNK + 1)
    os.close(source)
    os.close(target)


def start_large(compressor: Compressor, tmp_path: Path) -> int:
    """Start on a file of a hundred megabytes at the time 100; returns its directory."""
    with open(tmp_path / NAME, "wb") as file:
        file.truncate(10**8)
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    compressor.start("shop/a", directory, NAME, 100.0)
    return directory


def test_a_large_file_may_take_longer(
    compressor: Compressor, epoll: select.epoll, tmp_path: Path
) -> None:
    """A minute, and a second for each megabyte."""
    directory = start_large(compressor, tmp_path)
    assert compressor.timeout(100.0) == DEADLINE + 100.0
    assert compressor.abandon() is not None
    os.close(directory)


def test_after_a_failure_it_cools_down(
    compressor: Compressor, epoll: select.epoll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short the attempt was; the file stays."""

    def fail(*_arguments: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(codec, "compress", fail)
    assert not run(compressor, epoll, tmp_path)
    assert (tmp_path / NAME).read_bytes() == TEXT
    assert not compressor.may_start(99.9 + COOLDOWN)
    assert compressor.may_start(100.0 + COOLDOWN)


def test_a_job_that_does_not_die_at_once_is_not_looked_at_all_the_time(
    compressor: Compressor, epoll: select.epoll, tmp_path: Path
) -> None:
    """A disk that hangs keeps even who was killed: that costs the pump no processor."""
    directory = start_large(compressor, tmp_path)
    late = 100.0 + DEADLINE + 100.0
    assert compressor.timeout(late) == 0.0
    compressor.expire(late)
    assert compressor.timeout(late) == 1.0
    assert epoll.poll(20.0)
    assert not compressor.ended(late)[1]
    os.close(directory)
