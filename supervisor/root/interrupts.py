"""What signals from outside mean to root."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial

from supervisor.loop import Loop
from supervisor.root.console import say

#: Seconds after the first signal in which another one is its echo: a Ctrl-C goes to all that the
#: terminal has in front, and what started us (`timeout`, a script, a tool) passes it on as well.
ECHO = 0.2
#: Reloads that signals may ask for at once: one is under way, and one comes after it, for the code
#: may have changed since. It answers all signals that come meanwhile.
MOST_RELOADS = 2


class Interrupts:
    """The first request to stop is one to stop in order, the next one ends everything at once.

    Args:
        stop: stops in order.
        stop_now: ends everything.
        reload: loads the app anew; calls what it is given when that is over.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        stop: Callable[[], None],
        stop_now: Callable[[], None],
        reload: Callable[[Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop, self._stop_now, self._reload = stop, stop_now, reload
        self._clock = clock
        self._first: float | None = None  # when it came
        self._reloads = 0  # asked for, and not over
        self._has_terminal = has_terminal()

    def listen(self, loop: Loop) -> None:
        """Take the signals in a loop."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.on_signal(signum, partial(self.arrived, signum))
        loop.on_signal(signal.SIGHUP, self.hung_up)

    def arrived(self, signum: int) -> None:
        """Take a signal that asks for an end."""
        name, now = signal.Signals(signum).name, self._clock()
        if self._first is None:
            self._first = now
            say(f"{name}: stopping in order; again to stop at once")
            self._stop()
        elif now - self._first >= ECHO:
            say(f"{name} again: killing everything")
            self._stop_now()

    def hung_up(self) -> None:
        """Take SIGHUP: the terminal is gone; without one, it asks for a reload."""
        if self._has_terminal:
            self.arrived(signal.SIGHUP)
            return
        if not self._reloads:
            say("SIGHUP: reloading")
        if self._reloads < MOST_RELOADS:
            self._reloads += 1
            self._reload(self._reloaded)

    def _reloaded(self) -> None:
        self._reloads -= 1


def has_terminal() -> bool:
    """Whether a terminal controls this process, so that SIGHUP tells of its end."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
