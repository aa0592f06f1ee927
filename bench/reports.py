"""First lines, as they come in over a FIFO: who runs, since when."""

import os
import select
import tempfile
import time
from types import TracebackType

from bench.app import RECORD

#: Seconds to wait for a worker before a run is called off.
PATIENCE = 60.0


class Reports:
    """A FIFO that workers write their first lines to."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self.path = os.path.join(self._directory.name, "fifo")
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)  # read-write: never at its end
        self._rest = b""

    def __enter__(self) -> "Reports":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._fd)
        self._directory.cleanup()

    def environment(self, **more: object) -> dict[str, str]:
        """The environment in which workers report here."""
        return {**os.environ, "FIFO": self.path, **{k: str(v) for k, v in more.items()}}

    def take(self, count: int) -> list[tuple[int, int]]:
        """Wait for that many first lines: (pid, monotonic nanoseconds)."""
        found: list[tuple[int, int]] = []
        deadline = time.monotonic() + PATIENCE
        while len(found) < count:
            whole = len(self._rest) // RECORD.size * RECORD.size
            found.extend(RECORD.iter_unpack(self._rest[:whole]))
            self._rest = self._rest[whole:]
            if len(found) >= count:
                break
            ready, _, _ = select.select([self._fd], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{len(found)} of {count} workers reported")
            self._rest += os.read(self._fd, 1 << 16)
        return found
