"""Threads in a template: who has started them. With any of them it must not fork."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from supervisor.process.caller import caller


class Starters:
    """Who started which thread while an app was imported."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.native = ""

    def names(self) -> list[str]:
        """Describe the threads that are running now, beside the main one."""
        own = threading.main_thread()
        names = [
            f"thread {thread.name!r} started by {self.places.get(thread.name, 'an unknown module')}"
            for thread in threading.enumerate()
            if thread is not own
        ]
        if not names and count() > 1:
            names.append(f"{count() - 1} native threads started by {self.native or 'a library'}")
        return names


@contextlib.contextmanager
def watched() -> Iterator[Starters]:
    """Note where threads are started from, and which import made native ones appear."""
    starters = Starters()
    start = threading.Thread.start

    def noting(thread: threading.Thread) -> None:
        starters.places[thread.name] = caller()
        start(thread)

    finder: Any = _ImportWatch(starters)
    sys.meta_path.insert(0, finder)
    threading.Thread.start = noting  # type: ignore[method-assign, assignment]
    try:
        yield starters
    finally:
        sys.meta_path.remove(finder)
        threading.Thread.start = start  # type: ignore[method-assign]


class _ImportWatch:
    """Sees every import begin, and so after which one there were threads that Python has not."""

    def __init__(self, starters: Starters) -> None:
        self._starters = starters
        self._previous = "?"

    def find_spec(self, name: str, *_: Any) -> None:
        """Look, and leave the finding to others."""
        if not self._starters.native and count() > 1:
            self._starters.native = f"module {self._previous}"
        self._previous = name


def count() -> int:
    """Return how many threads this process has, those of C libraries included."""
    try:
        return os.stat("/proc/self/task").st_nlink - 2  # one directory for each
    except OSError:  # no /proc: Python's own are all that can be known
        return threading.active_count()


def problem(starters: Starters) -> str:
    """Say why this process must not fork; "" if it may."""
    if count() == 1:
        return ""
    shown = "; ".join(starters.names())
    return f"the template has threads ({shown}): a fork would copy their locks, held for ever"
