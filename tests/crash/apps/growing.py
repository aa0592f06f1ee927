"""An app whose template leaks 4 MiB at each fork, once it is told to; and cannot load, if told."""

import os
from pathlib import Path

from supervisor import Child, Supervisor
from workers import Worker

MARKS = Path(os.environ["MARKS"])
kept: list[bytes] = []

if (MARKS / "broken").exists():
    raise RuntimeError("broken")


def leak() -> None:
    """Keep something in the process that forks."""
    if (MARKS / "leak").exists():
        kept.append(os.urandom(1 << 12) * 1024)


os.register_at_fork(before=leak)


class Idle(Worker):
    """Does nothing."""

    def run(self) -> None:
        """Wait to be stopped."""
        self.link.wait(1e6)


inner = Supervisor("inner", [Child("deep", Idle)], intensity=100, period=1)
tree = Supervisor(
    "growing",
    [Child("victim", Idle), Child("still", Idle, count=2), inner],
    intensity=100,
    period=1,
    memory_budget="1GiB",
)
