"""A consumer that takes more than its hard limit for one kind of message, and does not stop."""

import os
import sys
from pathlib import Path

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer

MIB = 1 << 20
jobs = Queue("jobs", 100)


class Glutton(Consumer):
    """A negative number makes it take 106 MiB, and never come to an end."""

    def handle(self, number: int) -> None:
        """Handle one number."""
        print("handling", number, self.attempt, flush=True)
        if number < 0:
            self.kept = b"\1" * (106 * MIB)
            while True:
                self.link.wait(0.05)


class Sudden(Consumer):
    """A negative number makes it take 300 MiB at once, as soon as the kernel watches over it."""

    def handle(self, number: int) -> None:
        """Handle one number."""
        print("handling", number, self.attempt, flush=True)
        if number < 0:
            while f"letitcrash-{os.getpid()}" not in Path("/proc/self/cgroup").read_text():
                self.link.wait(0.02)
            self.kept = b"\1" * (300 * MIB)


class Source(Producer):
    """Puts what the command line says."""

    def run(self) -> None:
        """Put it, and wait to be stopped."""
        for word in sys.argv[1:]:
            self.put(int(word))
        self.flush()
        self.link.wait(1e6)


limits = {"memory_soft": "70MiB", "memory_hard": "100MiB"}
tree = Supervisor(
    "glutton",
    [
        Child("glutton", Glutton, queue=jobs, **limits),  # type: ignore[arg-type]
        Child("source", Source, queue=jobs),
    ],
    intensity=0,
    queues=[jobs],
)
sudden = Supervisor(
    "glutton",
    [
        Child("glutton", Sudden, queue=jobs, **limits),  # type: ignore[arg-type]
        Child("source", Source, queue=jobs),
    ],
    intensity=1,
    queues=[jobs],
)
