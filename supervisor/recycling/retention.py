"""Retention of what the runtime itself leaves behind: reports of crashes."""

import os
import time

from supervisor.janitor.sweep import Keep, Swept, sweep

#: Below the runtime directory.
CRASHES = "crashes"
#: A hundred of them, 64 MiB in all, thirty days.
KEEP = Keep(max_age=30 * 86_400.0, max_bytes=64 << 20, max_files=100)
#: Seconds between two looks.
EVERY = 600.0


class Retention:
    """Sweeps, now and then."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.join(directory, CRASHES)
        self._due = time.monotonic()

    def look(self) -> Swept | None:
        """Sweep, if it is time; what cannot be read is for the next time."""
        if time.monotonic() < self._due or not os.path.isdir(self._directory):
            return None
        self._due = time.monotonic() + EVERY
        try:
            return sweep(self._directory, KEEP, time.time())
        except OSError:
            return None
