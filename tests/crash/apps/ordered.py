"""Workers that take memory when they are ordered to, all in one moment; some cannot be replaced."""

import os
import threading
import tracemalloc
from pathlib import Path

from supervisor import Child, Queue, Supervisor
from workers import Worker

MARKS = Path(os.environ["MARKS"])
MIB = 1 << 20


def order() -> str:
    """Return how many MiB are to be taken; empty: none."""
    try:
        return (MARKS / "take").read_text()
    except FileNotFoundError:
        return ""


class Obedient(Worker):
    """Takes what is ordered in its own life, once."""

    def init(self) -> None:
        """What was ordered before is not for us."""
        self.known, self.kept = order(), b""

    def run(self) -> None:
        """Look for orders."""
        while not self.link.wait(0.02):
            if (now := order()) != self.known:
                self.known = now
                self.kept = b""  # the kernel might not allow both at once
                self.kept = b"\1" * (int(now) * MIB)


class Traced(Obedient):
    """Knows who has allocated what."""

    def init(self) -> None:
        """Trace."""
        tracemalloc.start()
        super().init()


class Last(Obedient):
    """Nobody after the first ever gets ready."""

    def init(self) -> None:
        """Hang, if there was one before."""
        super().init()
        try:
            (MARKS / "first").touch(exist_ok=False)
        except FileExistsError:
            threading.Event().wait()


limits = {"memory_soft": "30MiB", "memory_hard": "100MiB", "min_lifetime": 0, "trim": False}
pool = Supervisor("pool", [Child("w", Obedient, count=5, **limits)], intensity=0)  # type: ignore[arg-type]
one = Supervisor("one", [Child("w", Obedient, **limits)], intensity=10)  # type: ignore[arg-type]
leaking = Supervisor("leaking", [Child("w", Traced, **{**limits, "trim": True})], intensity=0)  # type: ignore[arg-type]
last = Supervisor(
    "last",
    [Child("w", Last, start_timeout=1.0, **limits)],  # type: ignore[arg-type]
    intensity=0,
)
tight = Supervisor(
    "tight", [Child("w", Obedient)], queues=[Queue("orders", capacity=10)], memory_budget="200MiB"
)
