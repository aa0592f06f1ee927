"""Workers that are recycled: well ones, and one whose successors fail."""

import os
from pathlib import Path

from supervisor import Child, Supervisor
from supervisor.memory import on_trim
from workers import Worker


class Steady(Worker):
    """Does nothing until stopped; says when it is asked to trim."""

    def init(self) -> None:
        """Say who it is."""
        on_trim(lambda: print("trimmed", os.getpid(), flush=True))

    def run(self) -> None:
        """Wait."""
        self.link.wait(1e6)


class Unique(Worker):
    """Only the first of its kind gets ready."""

    def init(self) -> None:
        """Fail if there was one before."""
        mark = Path(os.environ["MARKS"]) / type(self).__name__
        if mark.exists():
            raise RuntimeError("there is one")
        mark.touch()

    def run(self) -> None:
        """Wait."""
        self.link.wait(1e6)


class Sickly(Worker):
    """Successors get ready, and die before they have proved themselves."""

    def run(self) -> None:
        """Wait, if it is the first."""
        mark = Path(os.environ["MARKS"]) / type(self).__name__
        if mark.exists():
            raise RuntimeError("not viable")
        mark.touch()
        self.link.wait(1e6)


class Stubborn(Steady):
    """Does not end when asked to."""

    def run(self) -> None:
        """Wait again and again."""
        while True:
            self.link.wait(1.0)


tree = Supervisor(
    "tree",
    intensity=0,
    children=[
        Child("pool", Steady, count=2),
        Child("unique", Unique),
        Child("sickly", Sickly),
        Child("stubborn", Stubborn, shutdown=0.5),
        Supervisor("inner", [Child("deep", Steady, count=2)], intensity=0),
    ],
)
