"""Sending over a link without ever blocking: what the peer does not take now waits in order."""

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from supervisor.channel import Channel
from supervisor.descriptors import NO_DESCRIPTORS
from supervisor.loop import READ, WRITE, Loop

#: Messages that may wait for one peer. One that leaves more unread counts as gone: the connection
#: ends, which its other end sees when it reads again.
MAX_WAITING = 20_000
#: Seconds until a message that needs a descriptor, when there was none, is sent again.
SEND_AGAIN = 0.1


class Outbox:
    """Watches one channel for reading, and writes to it as fast as its peer takes it."""

    def __init__(self, loop: Loop, channel: Channel[Any], on_readable: Callable[[], None]) -> None:
        self._loop = loop
        self._channel = channel
        self._on_readable = on_readable
        self._waiting: deque[tuple[msgspec.Struct, int | None]] = deque()
        loop.watch(channel, self._on_event, READ)

    @property
    def waiting(self) -> int:
        """Messages that the peer has not taken yet."""
        return len(self._waiting)

    def send(self, message: msgspec.Struct, fd: int | None = None) -> None:
        """Send in order. Takes over ``fd``: it is closed when it was sent, or cannot be."""
        self._waiting.append((message, fd))
        if len(self._waiting) == 1:
            self._flush()
        elif len(self._waiting) > MAX_WAITING:
            self._drop()
            self._channel.socket.shutdown(socket.SHUT_RDWR)  # the end of file is read next

    def close(self) -> None:
        """Stop watching; drop what waits."""
        self._loop.unwatch(self._channel)
        self._drop()

    def _on_event(self, mask: int) -> None:
        if mask & WRITE:
            self._flush()
        if mask & READ:
            self._on_readable()

    def _flush(self) -> None:
        while self._waiting:
            message, fd = self._waiting[0]
            try:
                self._channel.send(message, () if fd is None else (fd,))
            except BlockingIOError:
                self._loop.watch(self._channel, self._on_event, READ | WRITE)
                return
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:  # a large message needs one
                    self._loop.watch(self._channel, self._on_event, READ)
                    self._loop.call_later(SEND_AGAIN, self._flush_waiting)
                    return
                self._drop()  # the peer is gone: its end of file is read next
                break
            _close(fd)
            self._waiting.popleft()
        self._loop.watch(self._channel, self._on_event, READ)

    def _flush_waiting(self) -> None:
        if self._waiting:
            self._flush()

    def _drop(self) -> None:
        while self._waiting:
            _close(self._waiting.popleft()[1])


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)
