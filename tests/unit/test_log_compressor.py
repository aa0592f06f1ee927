"""The compressor of closed files: one at a time, and not all of the time."""

import gzip
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.logs import codec
from supervisor.logs.compressor import COOLDOWN, REST, Compressor

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


def run(compressor: Compressor, epoll: select.epoll, folder: Path, seconds: float) -> bool:
    """Have it compress a file from second 100 on; return whether that succeeded."""
    (folder / NAME).write_bytes(TEXT)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        compressor.start("shop/a", directory, NAME, 100.0)
        assert not compressor.may_start(100.0)
        assert epoll.poll(20.0)
        return compressor.ended(100.0 + seconds)[1]
    finally:
        os.close(directory)


def test_it_rests_three_times_as_long_as_it_has_worked(
    compressor: Compressor, epoll: select.epoll, tmp_path: Path
) -> None:
    """So a flood of lines has the memory to itself for three quarters of the time."""
    assert run(compressor, epoll, tmp_path, seconds=2.0)
    (file,) = tmp_path.iterdir()
    assert gzip.decompress(file.read_bytes()) == TEXT
    assert not compressor.may_start(102.0)
    assert compressor.timeout(102.0) == REST * 2.0
    assert compressor.may_start(102.0 + REST * 2.0)
    assert compressor.timeout(102.0 + REST * 2.0) is None


def test_after_a_failure_it_cools_down(
    compressor: Compressor, epoll: select.epoll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short the attempt was; the file stays."""

    def fail(*_arguments: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(codec, "compress", fail)
    assert not run(compressor, epoll, tmp_path, seconds=0.1)
    assert (tmp_path / NAME).read_bytes() == TEXT
    assert not compressor.may_start(100.0 + COOLDOWN)
    assert compressor.may_start(100.1 + COOLDOWN)
