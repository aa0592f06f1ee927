"""A worker that takes 300 MiB in one moment when it is told to, once."""

import os
from pathlib import Path

from supervisor import Child, Supervisor
from workers import Worker


class Hungry(Worker):
    """Waits for a file that says so."""

    def run(self) -> None:
        """Take what it can get."""
        order = Path(os.environ["MARKS"]) / f"eat-{self.link.context.path.replace('/', '-')}"
        while not self.link.wait(0.02):
            if order.exists():
                order.unlink()
                self.kept = bytes(1) * (300 << 20)


class Quiet(Worker):
    """Does nothing."""

    def run(self) -> None:
        """Wait."""
        self.link.wait(1e6)


tree = Supervisor(
    "hungry",
    [
        Child("hungry", Hungry, memory_soft="50MiB", memory_hard="90MiB", min_lifetime=0),
        Child("quiet", Quiet),
        Supervisor(
            "inner",
            [Child("hungry", Hungry, memory_soft="50MiB", memory_hard="90MiB", min_lifetime=0)],
        ),
    ],
)
