"""What a sweep removes, and what it never touches."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.janitor import sweep as sweeps
from supervisor.janitor.sweep import Found, Keep, sweep, to_remove

NOW = 1_000_000.0


def files(*ages_and_sizes: tuple[float, int]) -> list[Found]:
    """Files of these ages and sizes, named by their place."""
    return [Found(str(n), size, NOW - age) for n, (age, size) in enumerate(ages_and_sizes)]


@pytest.mark.parametrize(
    ("keep", "gone"),
    [
        (Keep(), []),
        (Keep(max_age=100), ["2"]),
        (Keep(max_files=1), ["2", "1"]),
        (Keep(max_bytes=30), ["2"]),
        (Keep(max_bytes=5), ["2", "1", "0"]),
        (Keep(max_age=15, max_files=2), ["2", "1"]),
    ],
)
def test_the_oldest_go_first(keep: Keep, gone: list[str]) -> None:
    """Files of 10, 20 and 200 seconds, of 10 bytes each but the last, of 20."""
    found = files((10, 10), (20, 10), (200, 20))
    assert [file.path for file in to_remove(found, keep, NOW)] == gone


def test_a_sweep_goes_down_and_follows_no_links(tmp_path: Path) -> None:
    """Files below are found, a link to a precious directory is not followed, and stays."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "treasure").write_bytes(b"x" * 100)
    swept = tmp_path / "swept"
    (swept / "deep" / "deeper").mkdir(parents=True)
    (swept / "deep" / "deeper" / "old").write_bytes(b"x" * 10)
    (swept / "new").write_bytes(b"x" * 5)
    (swept / "link").symlink_to(precious)
    (swept / "treasure").symlink_to(precious / "treasure")
    for path in (swept / "deep" / "deeper" / "old", swept / "deep" / "deeper", swept / "deep"):
        os.utime(path, (NOW - 1000, NOW - 1000))
    os.utime(swept / "new", (NOW, NOW))
    result = sweep(str(swept), Keep(max_age=500), NOW)
    assert (result.removed, result.removed_bytes, result.files, result.bytes) == (1, 10, 1, 5)
    assert (precious / "treasure").exists()
    assert sorted(path.name for path in swept.iterdir()) == ["deep", "link", "new", "treasure"]


def test_no_more_files_are_listed_than_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten million of them would be the end of the process that lists them."""
    (tmp_path / "below").mkdir()
    for number in range(10):
        (tmp_path / "below" / str(number)).write_bytes(b"x")
    looks = []
    listed = sweeps._files

    def counted(directory: int, prefix: str, depth: int) -> Iterator[Found]:
        for found in listed(directory, prefix, depth):
            looks.append(found)
            yield found

    monkeypatch.setattr(sweeps, "MAX_FILES", 3)
    monkeypatch.setattr(sweeps, "_files", counted)
    assert sweep(str(tmp_path), Keep(max_files=1), NOW).removed == 2
    assert len(looks) < 10
    assert len(list((tmp_path / "below").iterdir())) == 8


def test_old_empty_directories_go_too(tmp_path: Path) -> None:
    """A directory that was empty for longer than the age goes; a fresh one stays."""
    for name, age in (("old", 1000), ("fresh", 1)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (NOW - age, NOW - age))
    sweep(str(tmp_path), Keep(max_age=500), NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["fresh"]


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Whoever can write beside it could have planted it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="link"):
        sweep(str(tmp_path / "link"), Keep(max_files=0), NOW)
    assert (tmp_path / "real" / "file").exists()


def test_what_is_not_there_has_nothing(tmp_path: Path) -> None:
    """A directory that the app has not made yet is no problem."""
    assert sweep(str(tmp_path / "later"), Keep(max_files=0), NOW).files == 0
