"""What a process tells in a file: whole, or nothing."""

import resource
from pathlib import Path

import msgspec
import pytest

from supervisor.bulletin import Bulletin


class News(msgspec.Struct):
    """What is told."""

    words: list[str]


NEWS = Bulletin[News]("news.json", News)


def test_the_last_one_is_read(tmp_path: Path) -> None:
    """A bulletin takes the place of the one before; only its owner may read it."""
    assert NEWS.read(str(tmp_path)) is None
    NEWS.post(str(tmp_path), News(["a"]))
    NEWS.post(str(tmp_path), News(["b"]))
    assert NEWS.read(str(tmp_path)) == News(["b"])
    assert (tmp_path / "news.json").stat().st_mode & 0o777 == 0o600


def test_one_that_cannot_be_written_as_a_whole_leaves_the_last(tmp_path: Path) -> None:
    """Where the disk ends in the middle of it, OSError, and the last one stays."""
    NEWS.post(str(tmp_path), News(["a"]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            NEWS.post(str(tmp_path), News(["b" * 10_000]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert NEWS.read(str(tmp_path)) == News(["a"])


def test_what_is_not_one_is_none(tmp_path: Path) -> None:
    """Nonsense, and another document, are no bulletin."""
    for nonsense in ("", "{", '{"words": 1}', "\udcff"):
        (tmp_path / "news.json").write_text(nonsense, errors="surrogateescape")
        assert NEWS.read(str(tmp_path)) is None
