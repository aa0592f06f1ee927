"""What signals from outside mean to root."""

import os
import signal
from collections.abc import Callable
from functools import partial

from supervisor.loop import Loop
from supervisor.root.console import say


class Interrupts:
    """The first request to stop is one to stop in order, the next one ends everything at once.

    Args:
        stop: stops in order.
        stop_now: ends everything.
        reload: loads the app anew.

    """

    def __init__(
        self, stop: Callable[[], None], stop_now: Callable[[], None], reload: Callable[[], None]
    ) -> None:
        self._stop, self._stop_now, self._reload = stop, stop_now, reload
        self._seen = 0
        self._has_terminal = has_terminal()

    def listen(self, loop: Loop) -> None:
        """Take the signals in a loop."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.on_signal(signum, partial(self._arrived, signum))
        loop.on_signal(signal.SIGHUP, self._hung_up)

    def _arrived(self, signum: int) -> None:
        self._seen += 1
        name = signal.Signals(signum).name
        if self._seen == 1:
            say(f"{name}: stopping in order; again to stop at once")
            self._stop()
        else:
            say(f"{name} again: killing everything")
            self._stop_now()

    def _hung_up(self) -> None:
        """Take SIGHUP: the terminal is gone; without one, it asks for a reload."""
        if self._has_terminal:
            self._arrived(signal.SIGHUP)
        else:
            say("SIGHUP: reloading")
            self._reload()


def has_terminal() -> bool:
    """Whether a terminal controls this process, so that SIGHUP tells of its end."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
