"""Everybody else's end of the control socket: the CLI, the observer, chaos.

`ControlClient`, `ask` and `get_snapshot` block; `snapshot` is for asyncio. Timeouts are seconds for
a whole request, however the bytes trickle in.
"""

import os
import select
import socket
import time
from typing import Self

from supervisor.control.errors import CommandFailed, NoAnswer, NotPermitted
from supervisor.control.frames import (
    HEADER_BYTES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    frame,
    payload_length,
)
from supervisor.control.messages import (
    Done,
    Failed,
    GetSnapshot,
    Reply,
    Request,
    SnapshotReply,
    decode_reply,
    encode,
)
from supervisor.control.peer import Peer, peer_of
from supervisor.errors import NotRunning, ProtocolError
from supervisor.observe.snapshot import Snapshot

DEFAULT_TIMEOUT = 5.0
CHUNK_BYTES = 256 * 1024


class ControlClient:
    """A connection to a running app.

    Args:
        path: the control socket (`runtime_dir.socket_path`).
        timeout: seconds a request may take unless it says otherwise.

    Raises:
        NotRunning: nobody listens there.
        NotPermitted: the socket belongs to somebody else.

    """

    def __init__(self, path: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.path = path
        self.timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self.peer = _trusted(self._socket, path)
        except BaseException as error:
            self._socket.close()
            raise _connect_error(error, path) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a command that is under way goes on."""
        self._socket.close()

    def request(self, request: Request, timeout: float | None = None) -> Reply:
        """Send a request, wait for its reply.

        Raises:
            NoAnswer: not within the timeout (the command may still be carried out).
            NotRunning: the app ended meanwhile.
            ProtocolError: the reply is not of the protocol.

        """
        limit = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        try:
            self._send(frame(encode(request), MAX_REQUEST_BYTES), deadline)
            length = payload_length(self._receive(HEADER_BYTES, deadline), MAX_REPLY_BYTES)
            return decode_reply(self._receive(length, deadline))
        except TimeoutError:
            raise _no_answer(limit) from None
        except ConnectionError:
            raise _ended(self.path) from None

    def _send(self, data: bytes, deadline: float) -> None:
        try:
            self._socket.settimeout(_left(deadline))
            self._socket.sendall(data)
        except BrokenPipeError:
            pass  # turned away: why is in the reply that is waiting to be read

    def _receive(self, size: int, deadline: float) -> bytes:
        received = bytearray()
        while len(received) < size:
            self._socket.settimeout(_left(deadline))
            piece = self._socket.recv(min(size - len(received), CHUNK_BYTES))
            if not piece:
                raise ConnectionResetError
            received += piece
        return bytes(received)


def ask(path: str, request: Request, timeout: float = DEFAULT_TIMEOUT) -> Done:
    """Have a command carried out.

    Raises:
        CommandFailed: the app says why not.

    """
    with ControlClient(path, timeout) as client:
        reply = accepted(client.request(request))
    if not isinstance(reply, Done):
        raise ProtocolError(f"the app answered a command with {type(reply).__name__}")
    return reply


def get_snapshot(path: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
    """Get the state of the whole tree."""
    with ControlClient(path, timeout) as client:
        return _the_snapshot(client.request(GetSnapshot()))


async def snapshot(path: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
    """Get the state of the whole tree, from a program that uses asyncio."""
    import asyncio  # here, because the CLI starts without it in half the time

    try:
        async with asyncio.timeout(timeout):
            return _the_snapshot(await _exchange(path, GetSnapshot()))
    except TimeoutError:
        raise _no_answer(timeout) from None


async def _exchange(path: str, request: Request) -> Reply:
    import asyncio

    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise _connect_error(error, path) from None
    try:
        _trusted(writer.get_extra_info("socket"), path)
        writer.write(frame(encode(request), MAX_REQUEST_BYTES))
        header = await reader.readexactly(HEADER_BYTES)
        return decode_reply(await reader.readexactly(payload_length(header, MAX_REPLY_BYTES)))
    except (asyncio.IncompleteReadError, ConnectionError):
        raise _ended(path) from None
    finally:
        writer.close()


def wait_for_end(pidfd: int, timeout: float | None) -> bool:
    """Wait until a process has ended; False if it has not in time."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    # The kernel counts milliseconds in an int: nobody waits for more than three weeks.
    return bool(poller.poll(None if timeout is None else min(timeout * 1000, 2**31 - 1)))


def accepted(reply: Reply) -> Reply:
    """Pass a reply on; raises CommandFailed if it says no."""
    if isinstance(reply, Failed):
        raise CommandFailed(
            reply.message,
            reply.hint,
            code=reply.code,
            exit_code=reply.exit_code or 1,
            where=reply.where,
        )
    return reply


def _the_snapshot(reply: Reply) -> Snapshot:
    reply = accepted(reply)
    if not isinstance(reply, SnapshotReply):
        raise ProtocolError(f"the app answered GetSnapshot with {type(reply).__name__}")
    return reply.snapshot


def _trusted(sock: socket.socket, path: str) -> Peer:
    """Refuse to believe a listener of another user, who may have got hold of the path."""
    peer = peer_of(sock)
    ours = os.geteuid()
    if ours not in (0, peer.uid) and peer.uid != 0:
        raise NotPermitted(f"{path} is served by uid {peer.uid}, not by us (uid {ours})")
    return peer


def _connect_error(error: BaseException, path: str) -> BaseException:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return NotRunning(f"no app answers at {path}")
        case PermissionError():
            return NotPermitted(f"{path} belongs to another user", "run it as that user")
        case TimeoutError() | BlockingIOError():
            return NoAnswer(f"the app at {path} does not accept connections")
        case OSError():
            return NotRunning(f"cannot connect to {path}: {error}")
    return error


def _no_answer(seconds: float) -> NoAnswer:
    return NoAnswer(
        f"no answer within {seconds:g} s; the command may still be carried out",
        'look with "supervisor status", or wait longer with --timeout',
    )


def _ended(path: str) -> NotRunning:
    return NotRunning(f"the app at {path} closed the connection without an answer")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
