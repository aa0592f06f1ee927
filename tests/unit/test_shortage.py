"""Why nothing can be written is said in words."""

import errno
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from supervisor.shortage import NO_INODES, explained, reason


@pytest.mark.parametrize(
    ("inodes", "left", "said"),
    [
        (1000, 0, "no inodes are left"),
        (1000, 5, "No space left on device"),
        (0, 0, "No space left on device"),  # a file system that makes them as needed
    ],
)
def test_a_want_of_inodes_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inodes: int, left: int, said: str
) -> None:
    """The kernel says ENOSPC of both; the path need not exist."""

    def statvfs(path: str) -> SimpleNamespace:
        os.stat(path)
        return SimpleNamespace(f_files=inodes, f_favail=left)

    monkeypatch.setattr(os, "statvfs", statvfs)
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    place = str(tmp_path / "not" / "there")
    assert reason(error, place).startswith(said)
    unable = sqlite3.OperationalError("unable to open database file")
    assert (NO_INODES in explained(unable, place)) is (left < inodes and left == 0)
    assert explained(unable, place).startswith("unable to open database file")


def test_other_errors_are_the_kernels_own_words(tmp_path: Path) -> None:
    """Or what Python says, if there is no errno."""
    assert reason(OSError(errno.EROFS, "Read-only file system"), str(tmp_path)) == (
        "Read-only file system"
    )
    assert reason(OSError("no room"), str(tmp_path)) == "no room"
