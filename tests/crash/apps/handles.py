"""Workers that leak descriptors, or threads, once they are told to."""

import os
import threading
from pathlib import Path

from supervisor import Child, Supervisor
from workers import Worker

MARKS = Path(os.environ["MARKS"])
MIB = 1 << 20
never = threading.Event()


class Leaky(Worker):
    """Has so much memory that it is looked at closely."""

    def init(self) -> None:
        """Take it."""
        self.kept = b"\1" * (64 * MIB)
        self.descriptors: list[int] = []

    def run(self) -> None:
        """Leak some each time, in the first life only."""
        while not self.link.wait(0.02):
            if self.link.context.incarnation == 1 and (MARKS / "leak").exists():
                self.leak()

    def leak(self) -> None:
        """Keep something for ever."""


class Descriptors(Leaky):
    """Leaks descriptors."""

    def leak(self) -> None:
        """Open one."""
        if len(self.descriptors) < 200:
            self.descriptors.append(os.open(os.devnull, os.O_RDONLY))


class Threads(Leaky):
    """Leaks threads."""

    def leak(self) -> None:
        """Start one."""
        if threading.active_count() < 30:
            threading.Thread(target=never.wait, daemon=True).start()


limits = {"memory_soft": "92MiB", "min_lifetime": 0, "trim": False}
tree = Supervisor(
    "handles",
    [
        Child("descriptors", Descriptors, max_fds=60, **limits),  # type: ignore[arg-type]
        Child("threads", Threads, max_threads=10, **limits),  # type: ignore[arg-type]
    ],
    intensity=0,
)
