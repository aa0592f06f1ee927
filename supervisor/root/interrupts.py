"""What signals from outside mean: the first stops in order, the next one at once."""

import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

from supervisor.control.messages import Reply
from supervisor.root.console import say

#: Seconds after the first signal in which another one is its echo: a Ctrl-C goes to all that the
#: terminal has in front, and what started us (`timeout`, a script, a tool) passes it on as well.
ECHO = 0.2


class Stoppable(Protocol):
    """What is stopped, or loaded anew."""

    def stop(self) -> None:
        """Stop in order."""

    def stop_now(self) -> None:
        """Kill everything."""

    def reload(self, everything: bool, answer: Callable[[Reply], None]) -> None:
        """Load the code anew."""


class Interrupts:
    """Counts them.

    Args:
        root: what they are for.
        clock: monotonic seconds.

    """

    def __init__(self, root: Stoppable, clock: Callable[[], float] = time.monotonic) -> None:
        self._root, self._clock = root, clock
        self._first: float | None = None  # when it came
        self._has_terminal = has_terminal()

    def arrived(self, signum: int) -> None:
        """Act on one signal."""
        name, now = signal.Signals(signum).name, self._clock()
        if self._first is None:
            self._first = now
            say(f"{name}: stopping in order; again to stop at once")
            self._root.stop()
        elif now - self._first >= ECHO:
            say(f"{name} again: killing everything")
            self._root.stop_now()

    def hung_up(self) -> None:
        """Take SIGHUP: the terminal is gone; without one, it asks for a reload."""
        if self._has_terminal:
            self.arrived(signal.SIGHUP)
        else:
            say("SIGHUP: reloading")
            self._root.reload(False, lambda _reply: None)


def has_terminal() -> bool:
    """Whether a terminal controls this process, so that SIGHUP tells of its end."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
