"""Where the reports of an app are: in its state directory, so that they outlive its run.

    STATE/crashes                 the reports, closed to others
    RUNTIME/crashes               leads there; without a state directory, they are here

Whoever writes or reads them while the app runs goes by way of the runtime directory. Of an app that
has ended they are found by its name.
"""

import os
import stat

#: The name of both.
CRASHES = "crashes"


def prepare(state: str) -> str | None:
    """Make the directory of reports in a state directory; None: it cannot be made, or is not ours.

    Args:
        state: the state directory; made if it is not there.

    """
    directory = os.path.join(state, CRASHES)
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        found = os.lstat(directory)
    except OSError:
        return None
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return directory if is_ours and not stat.S_IMODE(found.st_mode) & 0o077 else None


def point(runtime: str, directory: str | None) -> None:
    """Have the runtime directory lead to the reports; None: they are in it.

    A directory of reports that is there from a run without a state directory stays where it is.

    Raises:
        OSError: the runtime directory cannot be written to.

    """
    link = os.path.join(runtime, CRASHES)
    if os.path.islink(link):
        os.unlink(link)
    elif os.path.isdir(link):
        try:
            os.rmdir(link)
        except OSError:  # it has reports
            return
    if directory is not None:
        os.symlink(directory, link)


def below(runtime: str) -> str:
    """Return the path of the reports of an app, by its runtime directory."""
    return os.path.join(runtime, CRASHES)
