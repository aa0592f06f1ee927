"""The thread that sends what a writer has kept back, when its owner has gone on to other things.

A writer keeps messages back while others are on their way, to send them together. As a rule the
next put, or the one after, finds that it is time. This thread is for when there is none: it looks
every half millisecond, while there is something to look for, and sleeps otherwise. It is started
when a writer keeps something back for the first time: who puts now and then never has it.
"""

import threading
import time
from collections.abc import Callable

#: Seconds between two looks. A message is kept back for two of them at most.
TICK = 0.0004
#: Looks in vain, after which it sleeps until it is woken.
MAX_IDLE = 8


class Flusher:
    """Calls ``look`` every tick while it is awake.

    Args:
        look: returns whether there was something; must not block.

    """

    __slots__ = ("_look", "_started", "_wake", "dormant", "stopped")

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._wake = threading.Semaphore(0)
        self._started = self.stopped = False
        self.dormant = True

    def wake(self) -> None:
        """See that it looks, from now on."""
        if not self.dormant or self.stopped:
            return
        self.dormant = False
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="queue flusher", daemon=True).start()
        self._wake.release()

    def stop(self) -> None:
        """End the thread."""
        self.stopped = True
        if self.dormant:
            self._wake.release()

    def _run(self) -> None:
        while not self.stopped:
            self._wake.acquire()
            idle = 0
            while idle < MAX_IDLE and not self.stopped:
                time.sleep(TICK)
                idle = 0 if self._look() else idle + 1
            self.dormant = True
            if self._look():  # kept back after the last look, by who still saw us awake
                self.dormant = False
                self._wake.release()
