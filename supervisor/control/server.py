"""Root's end of the control socket: bounded, non-blocking, one request at a time per connection.

Who may talk is decided once, when a connection comes in, by the kernel's word on the peer. What it
may say is the union in `messages`. A connection that is silent, too slow, or not of the protocol is
closed; none of that reaches the rest of root, and a command goes on when its client is gone.
"""

import errno
import logging
import os
import socket
from collections.abc import Callable

from supervisor.control.connection import Connection
from supervisor.control.frames import MAX_REPLY_BYTES, frame
from supervisor.control.messages import Failed, Reply, Request, encode
from supervisor.control.peer import Peer, peer_of
from supervisor.descriptors import NO_DESCRIPTORS, Reserve
from supervisor.errors import ProtocolError, SupervisorError
from supervisor.loop import Loop

MAX_CONNECTIONS = 32
#: Connections accepted before the other work of the loop has its turn.
MAX_ACCEPTS = 16
#: Descriptors held for the time when there are none: the app can be looked at and stopped then.
#: All but one serve clients; the last one turns the next client away, or it would wait and wait.
RESERVED = 4
#: Seconds without accepting after descriptors ran out: they do not come back at once.
ACCEPT_PAUSE = 0.1


Answer = Callable[[Reply], None]
Handle = Callable[[Request, Peer, Answer], None]


class ControlServer:
    """Serves the control socket on root's loop.

    Args:
        loop: root's loop.
        listener: a listening, non-blocking Unix stream socket (`RuntimeDirectory.listen`).
        handle: called with each request, who sent it, and a function that takes the reply: now or
            later, once (later calls are dropped, as are replies to a client that has gone). A
            SupervisorError that it raises is the reply, with its exit code.
        exhausted: called when there was no descriptor for a client but those of the reserve.

    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        handle: Handle,
        exhausted: Callable[[], None] = lambda: None,
    ) -> None:
        self._exhausted = exhausted
        self._loop = loop
        self._listener = listener
        self._handle = handle
        self._connections: set[Connection] = set()
        self._reserve = Reserve(RESERVED)
        loop.watch(listener, self._on_connection)

    def listen_at(self, listener: socket.socket) -> None:
        """Serve another socket from now on, whose file is where that of the one before was."""
        self._on_connection(0)  # who has come in still is served
        self._loop.unwatch(self._listener)
        self._listener.close()
        self._listener = listener
        self._loop.watch(listener, self._on_connection)

    def close(self) -> None:
        """Close every connection and the listener."""
        self._loop.unwatch(self._listener)
        self._listener.close()
        for connection in list(self._connections):
            connection.close()
        self._reserve.release()

    # --- coming in ----------------------------------------------------------------------------

    def _on_connection(self, _mask: int) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                sock = self._accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError:  # unaccepted, they would wake us again at once
                self._pause()
                return
            self._admit(sock)

    def _accept(self) -> socket.socket:
        """Accept a client, with a descriptor of the reserve if there is no other.

        Raises:
            OSError: there was no client, or none that could be served.

        """
        try:
            return self._listener.accept()[0]
        except OSError as error:  # the kernel says so before it looks whether there is a client
            if error.errno not in NO_DESCRIPTORS:
                raise
        serves = self._reserve.held > 1
        self._reserve.release(1)
        try:
            sock = self._listener.accept()[0]
        except OSError:
            self._reserve.refill()
            raise
        self._exhausted()
        if serves:
            return sock
        message = "root has no file descriptors left"
        _turn_away(sock, Failed("overloaded", message, "try again later", 75))
        self._reserve.refill()
        raise OSError(errno.EMFILE, message)

    def _admit(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        peer = peer_of(sock)
        if peer.uid not in (0, os.geteuid()):
            message = f"uid {peer.uid} may not control this app (uid {os.geteuid()})"
            _turn_away(sock, Failed("not-permitted", message, "run it as that user", 77))
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            message = f"{MAX_CONNECTIONS} control connections are open already"
            _turn_away(sock, Failed("overloaded", message, "try again later", 75))
            return
        self._connections.add(
            Connection(self._loop, sock, lambda one, request: self._serve(one, peer, request), self)
        )

    def _pause(self) -> None:
        self._loop.unwatch(self._listener)
        self._loop.call_later(ACCEPT_PAUSE, self._resume)

    def _resume(self) -> None:
        if self._listener.fileno() < 0:
            return
        self._reserve.refill()
        self._loop.watch(self._listener, self._on_connection)

    # --- requests -----------------------------------------------------------------------------

    def _serve(self, connection: Connection, peer: Peer, request: Request) -> None:
        answered = False

        def answer(reply: Reply) -> None:
            nonlocal answered
            if not answered:
                answered = True
                connection.send(_framed(reply))

        try:
            self._handle(request, peer, answer)
        except SupervisorError as error:
            answer(failure(error))
        except Exception as error:  # a bug in one command must not take the whole tree down
            logging.getLogger(__name__).exception("control command failed")
            answer(Failed("internal", f"{type(error).__name__}: {error}", exit_code=70))

    # --- what connections report -------------------------------------------------------------

    def malformed(self, connection: Connection, error: ProtocolError) -> None:
        """Tell a client what is wrong with what it sent; its connection ends with that."""
        connection.send(_framed(Failed("protocol", str(error), exit_code=2)))

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._reserve.refill()


def failure(error: SupervisorError) -> Failed:
    """Make the reply that says what an error says."""
    code = getattr(error, "code", "") or _dashed(type(error).__name__)
    problem, _, rest = str(error).partition("\nhelp: ")
    return Failed(code, problem, getattr(error, "hint", "") or rest, error.exit_code)


def _framed(reply: Reply) -> bytes:
    payload = encode(reply)
    if len(payload) > MAX_REPLY_BYTES:
        message = f"the reply has {len(payload)} bytes; at most {MAX_REPLY_BYTES}"
        payload = encode(Failed("too-large", message))
    return frame(payload, MAX_REPLY_BYTES)


def _turn_away(sock: socket.socket, reason: Failed) -> None:
    try:
        sock.send(_framed(reason), socket.MSG_NOSIGNAL)
    except OSError:
        pass
    sock.close()


def _dashed(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
