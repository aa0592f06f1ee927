"""One client of the control socket.

It is in one of three states: *waiting* for a request, *busy* with one, *writing* its reply. What a
client sends ahead meanwhile is kept, up to `MAX_AHEAD` requests. Every state but busy has a
deadline, which single bytes do not extend: a request arrives whole in time, or not at all.
"""

import socket
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from supervisor.control.frames import MAX_REQUEST_BYTES, FrameDecoder
from supervisor.control.messages import Request, decode_request
from supervisor.errors import ProtocolError
from supervisor.loop import READ, WRITE, Loop, TimerHandle

#: Seconds in which a request has to arrive, and in which some of a reply has to be read.
DEADLINE = 10.0
MAX_AHEAD = 8
READ_BYTES = 64 * 1024


class State(Enum):
    """What a connection is doing."""

    WAITING = "waiting"
    BUSY = "busy"
    WRITING = "writing"
    CLOSED = "closed"


class Keeper(Protocol):
    """Who is told about a connection."""

    def malformed(self, connection: "Connection", error: ProtocolError) -> None:
        """The client sent what is not of the protocol: send it the last reply."""

    def closed(self, connection: "Connection") -> None:
        """It is closed."""


class Connection:
    """Reads requests, passes them on one by one, writes replies."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        serve: Callable[["Connection", Request], None],
        keeper: Keeper,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._serve = serve
        self._keeper = keeper
        self._decoder = FrameDecoder(MAX_REQUEST_BYTES)
        self._ahead: deque[bytes] = deque()
        self._output = memoryview(b"")
        self._state = State.WAITING
        self._timer: TimerHandle | None = None
        self._last_reply = False
        loop.watch(sock, self._on_event, READ)
        self._arm()

    def send(self, data: bytes) -> None:
        """Send the reply to the request being served; dropped if the client has gone."""
        if self._state is not State.BUSY:
            return
        self._state = State.WRITING
        self._output = memoryview(data)
        self._arm()
        self._write()

    def close(self) -> None:
        """Close the socket; nothing more happens here."""
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._disarm()
        self._output = memoryview(b"")
        self._ahead.clear()
        self._loop.unwatch(self._socket)
        self._socket.close()
        self._keeper.closed(self)

    # --- events -------------------------------------------------------------------------------

    def _on_event(self, mask: int) -> None:
        if mask & WRITE and self._state is State.WRITING:
            self._write()
        if mask & READ and self._state is not State.CLOSED:
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self._last_reply:
            return  # it hears why, and what else it says is thrown away
        try:
            self._ahead += self._decoder.feed(data)
            if len(self._ahead) > MAX_AHEAD:
                raise ProtocolError(f"more than {MAX_AHEAD} requests sent ahead of the replies")
        except ProtocolError as error:
            self._end_with(error)
            return
        self._next()

    def _next(self) -> None:
        if self._state is not State.WAITING or not self._ahead:
            return
        self._state = State.BUSY
        self._disarm()
        payload = self._ahead.popleft()
        try:
            request = decode_request(payload)
        except ProtocolError as error:
            self._end_with(error)
            return
        self._serve(self, request)

    def _end_with(self, error: ProtocolError) -> None:
        self._ahead.clear()
        self._last_reply = True
        if self._state in (State.WAITING, State.BUSY):
            # A command that is being served goes on; its reply comes second and is dropped.
            self._state = State.BUSY
            self._keeper.malformed(self, error)

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._output, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._output = self._output[sent:]
        if sent:
            self._arm()
        if self._output:
            self._loop.watch(self._socket, self._on_event, READ | WRITE)
            return
        if self._last_reply:
            self.close()
            return
        self._loop.watch(self._socket, self._on_event, READ)
        self._state = State.WAITING
        self._arm()
        # Posted, not called: a long queue of requests must not become a deep stack.
        self._loop.post(self._next)

    # --- the deadline -------------------------------------------------------------------------

    def _arm(self) -> None:
        self._disarm()
        self._timer = self._loop.call_later(DEADLINE, self.close)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
