"""The event loop of root and of every nested supervisor: wait, collect, perform.

One thread, one epoll. Callbacks never block. Whatever reports an outcome *posts* it to the
mailbox; the mailbox is served in order, and what is posted meanwhile is served in the next pass,
so that no source can starve the sockets (at most `MAX_SERVED` pieces of work between two waits).
Nothing polls: with no timer armed and no traffic the process sleeps in epoll for ever.
"""

import faulthandler
import heapq
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

#: Callbacks served between two looks at the sockets: about 5 ms of a supervisor's work.
MAX_SERVED = 16
#: Descriptors served in one pass; the others have their turn in the next one.
MAX_EVENTS = 16
#: Seconds of one wait at most.
LONGEST_WAIT = 86_400.0
#: Seconds that a wait may end late before it counts as a gap: we were stopped, or the machine was.
GAP = 0.5
#: Seconds that others have after a gap to say what they could not say, or we could not hear.
GAP_GRACE = 0.25
#: Seconds of one pass beyond which a guarded loop counts as blocked.
LONGEST_PASS = 1.0
READ = select.EPOLLIN
WRITE = select.EPOLLOUT
#: What epoll reports unasked, an error or the end: whoever then reads or writes hears of it.
TROUBLE = select.EPOLLERR | select.EPOLLHUP


class TimerHandle:
    """A timer that can be cancelled."""

    __slots__ = ("callback", "deadline", "sequence")

    def __init__(self, deadline: float, sequence: int, callback: Callable[[], None]) -> None:
        self.deadline, self.sequence = deadline, sequence
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make it never fire. Harmless when it has fired."""
        self.callback = None

    def __lt__(self, other: "TimerHandle") -> bool:
        return (self.deadline, self.sequence) < (other.deadline, other.sequence)


class Loop:
    """Waits on file descriptors, timers and signals; runs callbacks one after the other."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[Callable[[int], None], int]] = {}  # callback, mask
        self._timers: list[TimerHandle] = []
        self._mailbox: deque[Callable[[], None]] = deque()
        self._sequence = 0
        self._running = False
        self._wakeup, self._wakeup_write = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_write.setblocking(False)
        self._signals: dict[int, Callable[[], None]] = {}
        self.longest_pass = 0.0  # seconds; the longest the sockets were left unserved
        self._lagged: Callable[[float], None] | None = None
        self.on_wake: Callable[[float], None] | None = None  # called with monotonic seconds
        self.watch(self._wakeup, self._on_wakeup)

    def watch(self, fileobj: Any, callback: Callable[[int], None], mask: int = READ) -> None:
        """Call ``callback(mask)`` whenever ``fileobj`` is ready; again for another mask."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        known = self._watched.get(fd)
        if known is None:
            self._epoll.register(fd, mask)
        elif known[1] != mask:
            self._epoll.modify(fd, mask)
        self._watched[fd] = callback, mask

    def unwatch(self, fileobj: Any) -> None:
        """Stop watching, before it is closed; harmless if it is not watched."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def post(self, callback: Callable[[], None]) -> None:
        """Put a callback at the end of the mailbox."""
        self._mailbox.append(callback)

    @property
    def is_calm(self) -> bool:
        """Whether nothing is in the mailbox."""
        return not self._mailbox

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle:
        """Run a callback in ``delay`` seconds of monotonic time."""
        self._sequence += 1
        timer = TimerHandle(time.monotonic() + delay, self._sequence, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def on_signal(self, signum: int, callback: Callable[[], None]) -> None:
        """Run a callback in the loop when the signal arrives. Only from the main thread."""
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        self._signals[signum] = callback
        # The C handler writes the number to the wakeup fd; Python's own handler has no work.
        signal.signal(signum, _noop)
        signal.siginterrupt(signum, False)

    def stop(self) -> None:
        """Leave ``run`` after the current pass."""
        self._running = False

    def run(self) -> None:
        """Serve until ``stop``."""
        self._running = True
        while self._running:
            began = self._wait()
            self._fire_timers(began)
            self._serve_mailbox()
            self._end_pass(time.monotonic() - began)

    def guard(self, fd: int, lagged: Callable[[float], None]) -> None:
        """Write the stacks to ``fd`` when a pass is blocked, and call ``lagged`` when it has ended.

        An alarm is set while there is work, and none while we wait: 1 µs per pass, no wake-ups.
        Faulthandler answers it in C, so that it works however Python is blocked.
        """
        faulthandler.register(signal.SIGALRM, file=fd, all_threads=True, chain=False)
        self._lagged = lagged

    def _end_pass(self, seconds: float) -> None:
        if self._lagged is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            if seconds > LONGEST_PASS:
                self._lagged(seconds)
        self.longest_pass = max(self.longest_pass, seconds)

    def close(self) -> None:
        """Give the descriptors back."""
        self._epoll.close()
        self._wakeup.close()
        self._wakeup_write.close()

    def _wait(self) -> float:
        """Wait for the next event, and serve the sockets that are ready.

        Returns:
            when the wait ended. A timer that comes due after that is not to fire in this pass: if
            we were stopped (SIGSTOP) meanwhile, what others have said is still to be read.

        """
        timeout = self._timeout()
        asleep = time.monotonic()
        ready = self._epoll.poll(timeout, MAX_EVENTS)
        woke = time.monotonic()
        if self._lagged is not None:
            signal.setitimer(signal.ITIMER_REAL, LONGEST_PASS)
        if self.on_wake is not None:
            self.on_wake(woke)
        if timeout is not None and woke - asleep - timeout > GAP:
            self._credit(woke - asleep - timeout + GAP_GRACE)
        for fd, events in ready:
            if known := self._watched.get(fd):  # not unwatched by the ones before
                callback, mask = known
                callback(mask if events & TROUBLE else mask & events)
        return woke

    def _credit(self, seconds: float) -> None:
        """Postpone all timers: nobody is to be taken for dead because we were not there."""
        for timer in self._timers:  # all by as much: they stay a heap
            timer.deadline += seconds

    def _timeout(self) -> float | None:
        if self._mailbox:
            return 0.0
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        # epoll takes milliseconds in an int: a timer of months wakes us once a day for nothing
        return min(max(0.0, self._timers[0].deadline - time.monotonic()), LONGEST_WAIT)

    def _fire_timers(self, now: float) -> None:
        while self._timers and self._timers[0].deadline <= now:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                callback()

    def _serve_mailbox(self) -> None:
        for _ in range(min(len(self._mailbox), MAX_SERVED)):
            self._mailbox.popleft()()

    def _on_wakeup(self, _mask: int) -> None:
        try:
            arrived = self._wakeup.recv(4096)
        except BlockingIOError:
            return
        for signum in sorted(set(arrived)):  # a storm of one signal is one event
            callback = self._signals.get(signum)
            if callback is not None:
                callback()


def _noop(_signum: int, _frame: object) -> None:
    """Exist: a Python-level handler is what makes CPython write to the wakeup fd."""
