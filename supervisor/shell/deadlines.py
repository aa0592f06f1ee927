"""The deadlines of one process: named timers, and what its silence or standstill means.

Two limits watch a work loop. ``heartbeat``: so long without any beat, and it is stuck.
``stall_timeout``: beats may come, but the progress that they report has not changed for so long
while there is work at hand. A loop that says it is idle, or never said that it works, cannot stall.
"""

from collections.abc import Callable

from supervisor.loop import Loop, TimerHandle

#: A work loop reports at most four times a limit: progress may be this part of it older than said.
LATE = 0.25


class Deadlines:
    """Named timers; one that is set again replaces the former.

    Args:
        loop: where they run.
        heartbeat: seconds of silence after which a process is stuck; None: it need not beat.
        stall_timeout: seconds without progress after which it has stalled; None: never.
        kill: called with the cause, "heartbeat" or "stalled".

    """

    def __init__(
        self,
        loop: Loop,
        heartbeat: float | None,
        stall_timeout: float | None,
        kill: Callable[[str], None],
    ) -> None:
        self._loop, self._kill = loop, kill
        self._heartbeat, self._stall_timeout = heartbeat, stall_timeout
        self._timers: dict[str, TimerHandle] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._timers

    def after(self, name: str, delay: float, callback: Callable[[], None]) -> None:
        """Run a callback in ``delay`` seconds."""
        self.cancel(name)
        self._timers[name] = self._loop.call_later(delay, callback)

    def cancel(self, name: str) -> None:
        """It is not needed any more, if it was there."""
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def clear(self) -> None:
        """None is needed any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def beaten(self) -> None:
        """The process has said that it is alive, or ready."""
        if self._heartbeat is not None:
            self.after("heartbeat", self._heartbeat, lambda: self._kill("heartbeat"))

    def progressed(self, *, moved: bool, idle: bool) -> None:
        """Its work loop has reported.

        Args:
            moved: its progress is not what it was.
            idle: it has nothing to do.

        """
        if self._stall_timeout is None:
            return
        if idle:
            self.cancel("stall")
        elif moved or "stall" not in self:
            limit = self._stall_timeout * (1 + LATE)
            self.after("stall", limit, lambda: self._kill("stalled"))
