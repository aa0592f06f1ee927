"""Which descriptors an app has left open: two listings, compared."""

import os
import socket
from pathlib import Path

import pytest

from supervisor.process import left_open


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({0: "/dev/null", 3: "socket:[1]"}, {0: "/dev/null", 3: "socket:[1]"}, {}),
        ({3: "socket:[1]"}, {3: "socket:[1]", 4: "/a"}, {4: "/a"}),
        ({3: "socket:[1]", 4: "pipe:[2]"}, {3: "socket:[1]"}, {}),
        ({3: "socket:[1]"}, {3: "/a"}, {3: "/a"}),  # closed, and its number used again
        ({0: "/dev/null", 1: "pipe:[1]"}, {0: "/a", 1: "/b", 2: "/c"}, {}),  # a worker has its own
    ],
)
def test_what_is_new_is_left_open(
    before: dict[int, str], after: dict[int, str], found: dict[int, str]
) -> None:
    """By number and by what it refers to, but for the streams."""
    assert left_open.opened(before, after) == found


def test_without_proc_descriptors_are_looked_for_one_by_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Their kind is known all the same, and the place of a socket."""

    def missing(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", missing)
    monkeypatch.setattr(os, "readlink", missing)
    with left_open.watched() as imports:
        sock, file = socket.socket(socket.AF_UNIX), (tmp_path / "a").open("w")
    with sock, file:
        left = imports.left()
        assert set(left) == {sock.fileno(), file.fileno()}
        names = dict(zip(left, imports.named(left), strict=True))
        assert names[sock.fileno()].startswith(f"socket, opened by {__file__}:")
        assert names[file.fileno()] == "file"


def test_the_socket_class_is_as_it_was() -> None:
    """Nothing is noted any more once the app is loaded, even if it failed to."""
    init = socket.socket.__init__
    with pytest.raises(KeyError), left_open.watched():
        raise KeyError
    assert socket.socket.__init__ is init
