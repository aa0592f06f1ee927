"""The runtime directory: private or refused, one root each, stale sockets replaced."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.control import lock, runtime_dir
from supervisor.control.errors import UnsafeDirectory, WhichApp
from supervisor.control.runtime_dir import choose, claim, locate, running
from supervisor.errors import AlreadyRunning, NotRunning


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Make a user's runtime directory, as a login session does."""
    tmp_path.chmod(0o700)
    return {"XDG_RUNTIME_DIR": str(tmp_path)}


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by the user, by the session, by the system, or below /tmp."""
    assert locate("shop", {"SUPERVISOR_RUNTIME_DIR": "/a/b"}) == "/a/b"
    assert locate("shop", {"XDG_RUNTIME_DIR": str(tmp_path)}) == f"{tmp_path}/letitcrash/shop"
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert locate("shop", {}) == "/tmp/letitcrash-4711/shop"
    # What su left in the environment is another user's.
    assert locate("shop", {"XDG_RUNTIME_DIR": str(tmp_path)}) == "/tmp/letitcrash-4711/shop"


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "a\n"])
def test_a_name_cannot_leave_it(name: str) -> None:
    """A name is checked before it becomes a path."""
    with pytest.raises(UnsafeDirectory):
        locate(name, {})


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_it_is_private_whatever_the_umask(environ: dict[str, str], umask: int) -> None:
    """Directory 0700, socket and lock 0600."""
    before = os.umask(umask)
    try:
        claimed = claim("shop", environ)
        listener = claimed.listen()
    finally:
        os.umask(before)
    modes = {
        path: stat.S_IMODE(os.stat(os.path.join(claimed.directory, path)).st_mode)
        for path in (".", "..", runtime_dir.SOCKET)
    }
    assert modes == {".": 0o700, "..": 0o700, runtime_dir.SOCKET: 0o600}
    listener.close()
    claimed.release()


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_directory_that_others_can_write_is_refused(environ: dict[str, str], mode: int) -> None:
    """Whoever can write there could be talked to instead of us."""
    path = locate("shop", environ)
    os.makedirs(path)
    os.chmod(path, mode)
    with pytest.raises(UnsafeDirectory, match="written by others") as caught:
        claim("shop", environ)
    assert caught.value.exit_code == 78


def test_a_link_in_its_place_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    """A symbolic link could lead anywhere."""
    os.makedirs(os.path.dirname(locate("shop", environ)), mode=0o700)
    os.symlink(tmp_path, locate("shop", environ))
    with pytest.raises(UnsafeDirectory, match="not a link"):
        claim("shop", environ)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_directory_of_another_user_is_refused(environ: dict[str, str]) -> None:
    """Also when root could use it."""
    path = locate("shop", environ)
    os.makedirs(path, mode=0o700)
    os.chown(path, 65534, -1)
    with pytest.raises(UnsafeDirectory, match="belongs to uid 65534"):
        claim("shop", environ)


def test_a_path_that_is_too_long_is_refused_early(tmp_path: Path) -> None:
    """The kernel's limit is explained before anything is created."""
    long = str(tmp_path / ("x" * 120))
    with pytest.raises(UnsafeDirectory, match="at most 107"):
        claim("shop", {"SUPERVISOR_RUNTIME_DIR": long})
    assert not os.path.exists(long)


def test_a_second_root_touches_nothing(environ: dict[str, str]) -> None:
    """It hears who is running since when; the socket of the first stays as it was."""
    claimed = claim("shop", environ)
    listener = claimed.listen()
    inode = os.stat(os.path.join(claimed.directory, runtime_dir.SOCKET)).st_ino
    with pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}, since \d{{4}}-") as caught:
        claim("shop", environ)
    assert caught.value.exit_code == 75
    assert os.stat(os.path.join(claimed.directory, runtime_dir.SOCKET)).st_ino == inode
    listener.close()
    claimed.release()
    claimed.release()
    claim("shop", environ).release()


def test_the_socket_of_a_dead_root_is_replaced(environ: dict[str, str]) -> None:
    """A root that was killed leaves a socket file and no lock."""
    script = (
        "import os, sys; from supervisor.control.runtime_dir import claim;"
        "d = claim('shop', {'XDG_RUNTIME_DIR': sys.argv[1]}); d.listen(); print(d.directory);"
        "sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script, environ["XDG_RUNTIME_DIR"]]
    dead = subprocess.run(command, capture_output=True, text=True, check=False)
    assert os.path.exists(os.path.join(dead.stdout.strip(), runtime_dir.SOCKET))
    claimed = claim("shop", environ)
    with claimed.listen(), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(os.path.join(claimed.directory, runtime_dir.SOCKET))
    claimed.release()
    assert not os.path.exists(os.path.join(claimed.directory, runtime_dir.SOCKET))


def test_a_file_in_place_of_the_socket_is_left_alone(environ: dict[str, str]) -> None:
    """Only a socket is replaced."""
    claimed = claim("shop", environ)
    Path(claimed.directory, runtime_dir.SOCKET).write_text("precious")
    with pytest.raises(UnsafeDirectory, match="not a socket"):
        claimed.listen()
    os.close(claimed.lock_fd)


def test_the_lock_does_not_outlive_an_exec(environ: dict[str, str]) -> None:
    """A program that root executes cannot hold it."""
    claimed = claim("shop", environ)
    assert not os.get_inheritable(claimed.lock_fd)
    claimed.release()


def test_asking_who_runs_takes_nothing(environ: dict[str, str]) -> None:
    """The app is found by its lock, and an unlocked directory is no app."""
    assert running(environ) == {}
    claimed = claim("shop", environ)
    claim("gone", environ).release()
    assert running(environ) == {"shop": claimed.directory}
    holder = lock.holder_of(os.path.join(claimed.directory, runtime_dir.LOCK))
    assert holder is not None
    assert (holder.name, holder.pid) == ("shop", os.getpid())
    claimed.release()


def test_the_app_meant(environ: dict[str, str]) -> None:
    """The one named, the one in the environment, or the only one; otherwise the names."""
    with pytest.raises(NotRunning, match="supervisor run"):
        choose(None, environ)
    shop = claim("shop", environ)
    assert choose(None, environ) == shop.directory
    bank = claim("bank", environ)
    with pytest.raises(WhichApp, match="bank, shop") as caught:
        choose(None, environ)
    assert caught.value.exit_code == 2
    assert choose("bank", environ) == bank.directory
    assert choose(None, {**environ, "SUPERVISOR_NAME": "shop"}) == shop.directory
    with pytest.raises(NotRunning, match="running apps: bank, shop"):
        choose("shopp", environ)
    shop.release()
    bank.release()
