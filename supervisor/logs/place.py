"""Where the log files of an app are.

``DIR`` of `--logs DIR`, or ``$XDG_STATE_HOME/letitcrash/NAME/logs`` (below ``~/.local/state``
without that variable). The runtime directory of an app says where, also when it has ended.
"""

import os
from collections.abc import Mapping

from supervisor.logs.directory import open_root

#: The file in a runtime directory that says where the logs are.
POINTER = "logs"
MAX_PATH = 4096


def state_home(environ: Mapping[str, str] = os.environ) -> str:
    """Return the directory of state that is kept over restarts.

    Raises:
        OSError: there is none: no home directory is known.

    """
    given = environ.get("XDG_STATE_HOME", "")
    home = given if os.path.isabs(given) else os.path.expanduser("~/.local/state")
    if not os.path.isabs(home):
        raise FileNotFoundError("no home directory is known")
    return os.path.join(home, "letitcrash")


def default_directory(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return where the logs of an app are unless it was told otherwise."""
    return os.path.join(state_home(environ), name, "logs")


def prepare(directory: str) -> None:
    """Make the log directory, ours alone.

    Raises:
        OSError: it cannot be made, or others could write there.

    """
    os.close(open_root(directory))


def point(runtime_directory: str, directory: str | None) -> None:
    """Say in the runtime directory where the logs are; None: nowhere."""
    path = os.path.join(runtime_directory, POINTER)
    if directory is None:
        if os.path.lexists(path):
            os.unlink(path)
        return
    unfinished = path + ".tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(unfinished, flags, 0o600)
    try:
        os.write(fd, os.fsencode(os.path.abspath(directory)))
    finally:
        os.close(fd)
    os.rename(unfinished, path)


def pointed(runtime_directory: str) -> str | None:
    """Return where the logs of the app of a runtime directory are, as it said."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(os.path.join(runtime_directory, POINTER), flags)
    except OSError:
        return None
    try:
        return os.fsdecode(os.read(fd, MAX_PATH)) or None
    finally:
        os.close(fd)


def known(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """List the apps whose logs are where they are by default: name to directory."""
    try:
        home = state_home(environ)
        names = sorted(os.listdir(home))
    except OSError:
        return {}
    directories = {name: os.path.join(home, name, "logs") for name in names}
    return {name: path for name, path in directories.items() if os.path.isdir(path)}
