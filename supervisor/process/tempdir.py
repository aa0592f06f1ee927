"""A temp directory for each worker alone: made by its process, removed once that is dead.

    STATE/tmp/RUN.PID.NUMBER        TMPDIR of the process PID, the template's NUMBERth fork

A spare makes it while it waits, so that a restart does not. The janitor removes those whose process
is gone: of this run or of one before, it asks the kernel whether the process with that pid carries
that number in its tag (`supervisor.process.family`), so a pid that is used again misleads nobody.
"""

import os
import stat
import sys
from typing import Any

from supervisor.process.family import own_tag, tag_of, template_of
from supervisor.shortage import reason

#: Where the directories are, and what their names begin with; inherited from root.
VARIABLE = "SUPERVISOR_TEMP"
#: Bytes of STATE/tmp at most. A Unix socket's path has 107: 18 are ours, and 32 what
#: multiprocessing puts below for the sockets of its managers.
MAX_BASE = 57
#: Names tried, if a dead process has left one behind.
ATTEMPTS = 8
NUMBER = 0xFFFF_FFFF
#: Where `tempfile` looks by itself.
_SYSTEM = ("/tmp", "/var/tmp", "/usr/tmp")  # noqa: S108 - compared with, not written to

#: What the names of ours begin with; looked up once, for to look costs a fork 15 pages.
_prefix = os.environ.get(VARIABLE)
_made: str | None = None


# --- root's side ------------------------------------------------------------------------------


def begin(base: str | None, run_id: str) -> str:
    """Have the processes started from now on make their directories below ``base``.

    Args:
        base: STATE/tmp; made if it is not there. None: they keep the system's.
        run_id: of this run.

    Returns:
        why they keep the system's; "" if they do not.

    """
    global _prefix
    _prefix = None
    os.environ.pop(VARIABLE, None)
    if base is None:
        return ""
    if len(os.fsencode(base)) > MAX_BASE:
        return f"{base} is longer than {MAX_BASE} bytes"
    try:
        os.makedirs(base, 0o700, exist_ok=True)
        found = os.lstat(base)
    except OSError as error:
        return f"{base}: {reason(error, base)}"
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or mode & 0o022:
        return f"{base} is not a directory that is ours alone"
    _prefix = os.environ[VARIABLE] = os.path.join(base, run_id[:4])
    return ""


def base() -> str | None:
    """Return the directory that they are in; None: workers have the system's."""
    return None if _prefix is None else os.path.dirname(_prefix)


# --- the worker's side ------------------------------------------------------------------------


def rehearse() -> None:
    """Change the environment to what it is: see `supervisor.process.rehearsal`."""
    if _prefix is not None:
        os.environ[VARIABLE] = _prefix
        _name(0)


def prepare() -> None:
    """Make this process's directory, unless it has one; without one it has the system's."""
    global _made
    if _made is not None or _prefix is None:
        return
    for attempt in range(ATTEMPTS):
        path = _name(attempt)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        except OSError:  # the disk is full, or not to be written to
            return
        _made = path
        return


def _name(attempt: int) -> str:
    name = f"{_prefix}.{os.getpid()}.{own_tag() & NUMBER:x}"
    return f"{name}-{attempt}" if attempt else name


def use() -> None:
    """Make it ``TMPDIR``, and have `tempfile` look anew."""
    prepare()
    if _made is None:
        return
    tempfile: Any = sys.modules.get("tempfile")
    if tempfile is not None:
        before = {*_SYSTEM, *(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))}
        if tempfile.tempdir in before:  # or the author has chosen another
            tempfile.tempdir = None
    os.environ["TMPDIR"] = _made


# --- the janitor's side -----------------------------------------------------------------------


def owner_of(name: str) -> tuple[int, int] | None:
    """Return the pid and the number that a directory's name has; None: it has another name."""
    run, _, rest = name.partition(".")
    pid, _, number = rest.partition(".")
    try:
        owner = int(pid), int(number.partition("-")[0], 16)
    except ValueError:
        return None
    return owner if run and owner[0] > 0 else None


def is_abandoned(name: str) -> bool:
    """Whether a directory's process is gone for certain; False for what has another name."""
    owner = owner_of(name)
    if owner is None:
        return False
    tag = tag_of(owner[0])
    if tag is None:
        return True
    # A number that no template has given: it has changed its own limit, or is a stranger.
    return template_of(tag) > 0 and tag & NUMBER != owner[1]
