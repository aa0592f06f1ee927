"""Listening to one process: its messages, within limits, until it hangs up or talks nonsense."""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from supervisor.channel import Channel
from supervisor.loop import Loop, TimerHandle
from supervisor.shell.throttle import Throttle

#: Messages read in one pass: a flood of them must not starve the others.
MAX_MESSAGES = 64
#: Such passes for the last words of a process: more than its socket can hold.
LAST_READS = 64


class Listener:
    """Reads one channel.

    Args:
        loop: on which a throttled channel is waited for.
        channel: what to read.
        heard: called with each message and its descriptors.
        ended: called once, at the end: with the error of a message that is none, or None.
        noisy: called when it first says more than it may; None: it may say what it likes.

    """

    def __init__(
        self,
        loop: Loop,
        channel: Channel[Any],
        heard: Callable[[Any, list[int]], None],
        ended: Callable[[msgspec.DecodeError | None], None],
        noisy: Callable[[], None] | None,
    ) -> None:
        self.channel = channel
        self._loop, self._heard, self._ended, self._noisy = loop, heard, ended, noisy
        self._throttle = Throttle(time.monotonic())
        self._pause: TimerHandle | None = None
        self._closed = False

    def _on_readable(self, _mask: int) -> None:
        self.read()

    def read(self) -> bool:
        """Read what is there, for a while; returns whether there may be more."""
        for _ in range(MAX_MESSAGES):
            if self._closed or self._pause is not None:
                return False
            try:
                received = self.channel.receive()
            except BlockingIOError:
                return False
            except msgspec.DecodeError as error:
                self._ended(error)
                return False
            except OSError:
                received = None
            if received is None:
                self._ended(None)
                return False
            self._heard(*received)
            self._meter()
        return True

    def read_last(self) -> None:
        """Read all that a process that has ended had to say, though it may be too much."""
        self._resume()
        self._noisy = None
        for _ in range(LAST_READS):
            if not self.read():
                return

    def close(self) -> None:
        """Stop listening, and hang up."""
        if self._closed:
            return
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.unwatch(self.channel)
        self.channel.close()

    def _meter(self) -> None:
        if self._noisy is None or self._closed:
            return
        seconds = self._throttle.spend(self.channel.last_size, time.monotonic())
        if seconds:
            self._loop.unwatch(self.channel)
            self._pause = self._loop.call_later(seconds, self._resume)
            if not self._throttle.noted:
                self._throttle.noted = True
                self._noisy()

    def _resume(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
            self._loop.watch(self.channel, self._on_readable)
