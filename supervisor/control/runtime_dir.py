"""The runtime directory of an app: where its control socket and its lock are.

It is ``$SUPERVISOR_RUNTIME_DIR``, or the app's name below ``$XDG_RUNTIME_DIR/letitcrash``,
``/run/letitcrash`` (root) or ``/tmp/letitcrash-<uid>``. Whoever can write there can give orders to
the app, so it is ours alone (0700), whatever the umask, or it is refused.
"""

import os
import socket
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.control import lock
from supervisor.control.errors import UnsafeDirectory, WhichApp
from supervisor.declare.checks import NAME, shown
from supervisor.errors import AlreadyRunning, NotRunning
from supervisor.shortage import reason

SOCKET = "control.sock"
QUEUES_SOCKET = "queues.sock"
LOCK = "lock"
#: What fits into sockaddr_un, less the NUL.
MAX_SOCKET_PATH = 107
BACKLOG = 64
#: Names that a listing reads at most.
MAX_LISTED = 1000
SHORTER = "set SUPERVISOR_RUNTIME_DIR to a shorter path, for example /run/shop"


def locate(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Say where the runtime directory of an app is; it need not exist."""
    if not NAME.fullmatch(name):
        raise UnsafeDirectory(f"{shown(name)} cannot be the name of an app", "check --name")
    if given := environ.get("SUPERVISOR_RUNTIME_DIR"):
        return os.path.abspath(given)
    return os.path.join(_base(environ), name)


def socket_path(directory: str) -> str:
    """Say where the control socket of a runtime directory is; raises if its path is too long."""
    path = os.path.join(directory, SOCKET)
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        raise UnsafeDirectory(
            f"the path of the control socket has {size} bytes; at most {MAX_SOCKET_PATH}: {path}",
            SHORTER,
        )
    return path


def _base(environ: Mapping[str, str]) -> str:
    uid = os.geteuid()
    # Kept by su and sudo, it may be another user's, who could then replace what we put there.
    xdg = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(xdg) and _is_ours(xdg, uid):
        return os.path.join(xdg, "letitcrash")
    if uid == 0 and os.access("/run", os.W_OK):
        return "/run/letitcrash"
    return f"/tmp/letitcrash-{uid}"  # noqa: S108 - created 0700 and checked before use


def _is_ours(path: str, uid: int) -> bool:
    try:
        return os.stat(path).st_uid == uid
    except OSError:
        return False


# --- root's side ------------------------------------------------------------------------------


@dataclass(slots=True)
class RuntimeDirectory:
    """A runtime directory that is ours until `release`, or until this process ends.

    ``parent``: the directory above, if that is ours to make too.
    """

    name: str
    directory: str
    parent: str | None
    lock_fd: int = -1
    _socket: os.stat_result | None = None

    def listen(self) -> socket.socket:
        """Bind the control socket, replacing the file that a dead root left behind."""
        path = socket_path(self.directory)
        try:
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise UnsafeDirectory(f"{path} is not a socket", "remove it")
            os.unlink(path)
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        self._socket = os.lstat(path)
        return listener

    @property
    def whole(self) -> bool:
        """Whether lock and socket are where they were made."""
        try:
            found = os.lstat(os.path.join(self.directory, SOCKET))
        except OSError:
            return False
        return self._locked and self._socket is not None and os.path.samestat(found, self._socket)

    def occupy(self) -> None:
        """Make the directory, and take its lock, unless we have that.

        Raises:
            AlreadyRunning: another root has it; nothing was touched.
            UnsafeDirectory: it is not ours alone, or cannot be made.

        """
        if self._locked:
            return
        if self.parent is not None:
            _make_private(self.parent)
        _make_private(self.directory)
        taken = _lock(self.name, os.path.join(self.directory, LOCK))
        if self.lock_fd >= 0:
            os.close(self.lock_fd)  # of a file that was removed
        self.lock_fd = taken

    def release(self) -> None:
        """Remove the socket and let go of the lock; its file stays (removing it would race)."""
        if self.lock_fd < 0:
            return
        if self._locked:  # or what is there is another's
            try:
                os.unlink(os.path.join(self.directory, SOCKET))
            except FileNotFoundError:
                pass
        os.close(self.lock_fd)
        self.lock_fd = -1

    @property
    def _locked(self) -> bool:
        return self.lock_fd >= 0 and lock.is_at(self.lock_fd, os.path.join(self.directory, LOCK))


def claim(name: str, environ: Mapping[str, str] = os.environ) -> RuntimeDirectory:
    """Create and lock the runtime directory of an app.

    Raises:
        AlreadyRunning: another root has it; nothing was touched.
        UnsafeDirectory: it is not ours alone, or its path is too long.

    """
    directory = locate(name, environ)
    socket_path(directory)
    given = environ.get("SUPERVISOR_RUNTIME_DIR")
    claimed = RuntimeDirectory(name, directory, None if given else os.path.dirname(directory))
    claimed.occupy()
    return claimed


def _lock(name: str, path: str) -> int:
    try:
        fd = lock.acquire(path, lock.Holder(name, os.getpid(), time.time()))
    except OSError as error:
        raise UnsafeDirectory(
            f"cannot lock {path}: {reason(error, path)}", "set SUPERVISOR_RUNTIME_DIR"
        ) from error
    if fd is None:
        holder = lock.holder_of(path) or lock.Holder()
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.started_at))
        raise AlreadyRunning(
            f"{shown(holder.name or name)} is already running (pid {holder.pid}, since {since})\n"
            f'help: look at it with "supervisor status --name {holder.name or name}", stop it with '
            '"supervisor stop", or give this one another --name'
        )
    return fd


def _make_private(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
        created = True
    except FileExistsError:
        created = False
    except OSError as error:
        raise UnsafeDirectory(
            f"cannot create {path}: {reason(error, path)}", "set SUPERVISOR_RUNTIME_DIR"
        ) from error
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise UnsafeDirectory(
            f"{path} cannot be used: {error.strerror}", "it must be a directory, not a link to one"
        ) from error
    try:
        if created:
            os.fchmod(fd, 0o700)  # a umask may have taken some of it
        _refuse_others(path, os.fstat(fd))
    finally:
        os.close(fd)


def _refuse_others(path: str, info: os.stat_result) -> None:
    if info.st_uid != os.geteuid():
        raise UnsafeDirectory(
            f"{path} belongs to uid {info.st_uid}, not to us (uid {os.geteuid()})",
            "remove it, or set SUPERVISOR_RUNTIME_DIR to a directory of your own",
        )
    mode = stat.S_IMODE(info.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeDirectory(
            f"{path} can be written by others (mode {mode:04o})", f"chmod 700 {path}"
        )


# --- everybody else's side ----------------------------------------------------------------------


def running(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """List the apps that run: name to runtime directory."""
    if given := environ.get("SUPERVISOR_RUNTIME_DIR"):
        directories = [os.path.abspath(given)]
    else:
        base = _base(environ)
        try:
            names = sorted(os.listdir(base))[:MAX_LISTED]
        except OSError:
            names = []
        directories = [os.path.join(base, name) for name in names]
    found = {}
    for directory in directories:
        holder = lock.holder_of(os.path.join(directory, LOCK))
        if holder is not None:
            found[holder.name or os.path.basename(directory)] = directory
    return found


def choose(name: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Find the runtime directory of the app meant: the one named, or the only one that runs.

    Raises:
        NotRunning: it does not run, or none does.
        WhichApp: several run.

    """
    apps = running(environ)
    name = name or environ.get("SUPERVISOR_NAME")
    known = ", ".join(apps) or "none"
    if name:
        if name in apps:
            return apps[name]
        raise NotRunning(f"{shown(name)} is not running; running apps: {known}")
    if not apps:
        raise NotRunning('no app is running\nhelp: start one with "supervisor run MODULE:TREE"')
    if len(apps) > 1:
        raise WhichApp(
            f"{len(apps)} apps are running: {known}",
            "name one with --name, or set SUPERVISOR_NAME",
        )
    return next(iter(apps.values()))
