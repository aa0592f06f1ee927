"""Where an app keeps what outlives its run: the files of durable queues.

It is found by the app's name, as the runtime directory is, so that the next run finds it again. It
is ours alone: whoever could change it could put messages into queues.
"""

import os
import stat
from collections.abc import Mapping

from supervisor.errors import DefinitionError
from supervisor.shortage import reason

HELP = "choose another one with --state DIR"


def state_dir(name: str, chosen: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Say where the state of an app is.

    Args:
        name: of the app.
        chosen: what the user has said: the directory itself.
        environ: for $XDG_STATE_HOME and $HOME.

    """
    if chosen:
        return os.path.abspath(chosen)
    return os.path.join(_base(environ), "letitcrash", name)


def prepare(path: str) -> str:
    """Make a state directory, closed to others; return its path.

    Raises:
        DefinitionError: it cannot be made, or others can change it.

    """
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        status = os.stat(path)
    except OSError as error:
        raise DefinitionError(
            f"durable queues have no place: {path}: {reason(error, path)}", help=HELP
        ) from error
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise DefinitionError(
            f"durable queues have no safe place: others can change {path}",
            help=f"make it yours alone (chmod 700), or {HELP}",
        )
    return path


def _base(environ: Mapping[str, str]) -> str:
    xdg = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(xdg):
        return xdg
    if os.geteuid() == 0:
        return "/var/lib"
    return os.path.join(os.path.expanduser("~"), ".local", "state")
