"""How a process says that it is ready: what becomes of the socket that it says it to."""

import os
from pathlib import Path

import pytest

from supervisor.loop import Loop
from supervisor.shell.readiness import NotifyReadiness


def test_a_socket_that_cannot_be_made_is_made_the_next_time(tmp_path: Path) -> None:
    """A runtime directory that is gone for a moment: the start is tried again, with a socket."""
    loop, where = Loop(), tmp_path / "runtime"
    readiness = NotifyReadiness(loop, str(where), lambda: None)
    with pytest.raises(FileNotFoundError):
        readiness.prepare()
    where.mkdir()
    readiness.prepare()
    assert len(os.listdir(where)) == 1
    readiness.close()
    assert os.listdir(where) == []
    loop.close()


def test_a_socket_that_cannot_be_removed_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that has become read-only is no reason for root to end."""

    def refuse(_path: str) -> None:
        raise OSError(30, "Read-only file system")

    loop = Loop()
    readiness = NotifyReadiness(loop, str(tmp_path), lambda: None)
    readiness.prepare()
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        readiness.close()
    assert len(os.listdir(tmp_path)) == 1
    loop.close()
