"""An app with everything that a janitor meets: a directory, and functions good and bad."""

import os
import signal
import subprocess
from pathlib import Path

from supervisor import Child, Recycler, Supervisor, recycle
from workers import Worker

MARKS = Path(os.environ.get("MARKS", "/nonexistent"))


class Quiet(Worker):
    """Does nothing."""

    def run(self) -> None:
        """Wait."""
        self.link.wait(1e6)


@recycle(every=0.3)
def old_rows() -> int:
    """Remove three of something."""
    return 3


@recycle(every=3600, deadline=0.5)
def hanging() -> None:
    """Hang, and leave a child that hangs as well."""
    child = subprocess.Popen(["sleep", "3600"])
    (MARKS / "hanging").write_text(f"{os.getpid()} {child.pid}")
    signal.pause()


@recycle(every=3600, name="broken")
def raises() -> None:
    """Fail."""
    raise LookupError("no table")


@recycle(every=3600)
def dies() -> None:
    """Die."""
    os.abort()


tree = Supervisor(
    "untidy",
    [Child("quiet", Quiet), Child("once", Quiet, restart="transient")],
    recyclers=[
        Recycler("uploads", path=MARKS / "uploads", max_files=2, every=0.2, deadline=1e8),
        old_rows,
        hanging,
        raises,
        dies,
    ],
)
