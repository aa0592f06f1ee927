"""File descriptors: as many as we may have, and a reserve for when there are none left."""

import contextlib
import errno
import logging
import math
import os
import resource
import time
from collections.abc import Callable, Iterator

#: What a supervisor holds for each slot: both ends of two log pipes, what root keeps of them for
#: the pump, the link, the stacks, one in passing.
PER_SLOT = 9
#: What a process of the runtime holds besides: control connections, templates, files, spares.
BASE = 96
#: What is held in reserve for starts: a link, stacks, the log pipes of a new slot.
RESERVED = 10
#: Errors that mean that there are none left, for us or for the machine.
NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


def use_all_descriptors() -> None:
    """Raise our limit as far as we may: who reads the logs of many slots needs one for each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


#: Seconds between two records that say that there are none left.
COMPLAINT_INTERVAL = 60.0


class Exhaustion:
    """When there were none left, last; tells it in the log, not too often."""

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        self._quiet_until = -math.inf  # monotonic seconds
        self.at: float | None = None  # Unix seconds

    def noticed(self) -> None:
        """The reserve had to be used."""
        self.at, now = time.time(), time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + COMPLAINT_INTERVAL
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            help_text = "raise the limit of open files (ulimit -n, LimitNOFILE)"
            event = "out of file descriptors"
            self._log(logging.WARNING, event, limit=limit, pid=os.getpid(), help=help_text)


class Reserve:
    """Descriptors that are held only to be given back when there are no others."""

    def __init__(self, size: int = RESERVED) -> None:
        self._size = size
        self._held: list[int] = []
        self.refill()

    @property
    def held(self) -> int:
        """How many there are."""
        return len(self._held)

    def release(self, count: int | None = None) -> None:
        """Give back so many; all of them if it is not said."""
        for _ in range(len(self._held) if count is None else min(count, len(self._held))):
            os.close(self._held.pop())

    def refill(self) -> None:
        """Hold as many again as it was made with, or as there are."""
        try:
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Give them back for something that needs them for a moment."""
        self.release()
        try:
            yield
        finally:
            self.refill()
