"""One worker that prints a hundred lines, and one that prints more than it may."""

import sys

from supervisor import Child, Supervisor
from workers import Worker

LINES = 150_000


class Counted(Worker):
    """A hundred lines of ten bytes."""

    def run(self) -> None:
        """Print, and wait."""
        for number in range(100):
            print(f"line {number:04}")
        self.link.wait(1e6)


class Flood(Worker):
    """Many lines at once."""

    def run(self) -> None:
        """Print, and wait."""
        sys.stdout.write("a line of a flood\n" * LINES)
        sys.stdout.flush()
        self.link.wait(1e6)


tree = Supervisor("wordy", [Child("counted", Counted), Child("flood", Flood)])
