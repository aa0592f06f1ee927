"""A small HTTP server: short answers to GET, in a process that may be hit hard.

One request a connection, no body, no keep-alive, no chunks. Every read, write and wait has a limit
with a name below, and what goes over it is answered, if that is possible, and closed.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import h11

#: Bytes of the request line and headers together.
MAX_HEADER_BYTES = 8 * 1024
MAX_HEADERS = 64
MAX_CONNECTIONS = 64
#: Seconds for the whole header to arrive; for an answer to be taken; for a client to close.
HEADER_DEADLINE = 5.0
WRITE_DEADLINE = 5.0
LINGER = 1.0
#: Bytes of unwanted request that are read before closing, so that the client sees the answer.
MAX_LINGER_BYTES = 256 * 1024

#: Methods that exist, but not here: 405. Others: 501.
OTHER_METHODS = frozenset((b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"))
LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))

SECURITY_HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What an answer may depend on. ``path`` is without the query; ``local``: from this machine."""

    path: str
    local: bool
    query: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body, with its type."""

    status: int
    body: bytes
    content_type: str = "application/health+json"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Answer]]


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """The request is answered with a status and closed."""

    def __init__(self, status: int, why: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.answer = Answer(status, why.encode() + b"\n", "text/plain; charset=utf-8", headers)
        super().__init__(why)


class Server:
    """Serves a handler.

    Args:
        handler: makes an answer of a valid GET or HEAD request.
        hosts: what the Host header may say, besides the loopback names: a page of another site,
            with its name pointed at us, is refused (DNS rebinding).
        any_address: accept every numeric Host: the address we are reached by is not known.

    """

    def __init__(
        self, handler: Handler, hosts: Collection[str] = (), *, any_address: bool = False
    ) -> None:
        self._handler = handler
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._any_address = any_address
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, to its end."""
        if self._connections >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections += 1
        try:
            await self._exchange(reader, writer)
        except (ConnectionError, TimeoutError):  # of a client that is gone or does not read
            pass
        except asyncio.CancelledError:  # we stop; a cancelled handler would be logged as an error
            pass
        finally:
            self._connections -= 1
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES + 1)
        head_only = False
        try:
            async with asyncio.timeout(HEADER_DEADLINE):
                request = await _read_request(connection, reader)
            head_only = request.method == b"HEAD"
            answer = await self._answer(request, _is_local(writer))
        except Refused as refused:
            answer = refused.answer
        except TimeoutError:
            answer = Refused(408, "the request took too long").answer
        writer.transport.set_write_buffer_limits(0)  # drained means sent
        async with asyncio.timeout(WRITE_DEADLINE):
            writer.write(_encode(answer, head_only))
            await writer.drain()
            writer.write_eof()
        await _linger(reader)

    async def _answer(self, request: h11.Request, local: bool) -> Answer:
        target = self._check(request)
        path, _, query = target.partition("?")
        try:
            return await self._handler(Request(path, local, query))
        except Refused:
            raise
        except Exception as error:
            _log.exception("could not answer %s", target)
            raise Refused(500, f"internal error: {type(error).__name__}") from error

    def _check(self, request: h11.Request) -> str:
        """Refuse what is not a plain GET or HEAD of ours; returns the target."""
        if request.method not in (b"GET", b"HEAD"):
            known = request.method in OTHER_METHODS
            raise Refused(405 if known else 501, "GET and HEAD only", (("Allow", "GET, HEAD"),))
        headers: list[tuple[bytes, bytes]] = list(request.headers)
        if len(headers) > MAX_HEADERS:
            raise Refused(431, f"more than {MAX_HEADERS} headers")
        named = [(bytes(name), bytes(value)) for name, value in headers]
        lengths = [value for name, value in named if name == b"content-length"]
        if any(name == b"transfer-encoding" for name, _ in named) or any(
            value != b"0" for value in lengths
        ):
            raise Refused(400, "a request here has no body")
        hosts = [value for name, value in named if name == b"host"]
        if len(hosts) != 1:
            raise Refused(400, "exactly one Host header is needed")
        if not self._knows(hosts[0].decode("latin-1")):
            raise Refused(421, "this server does not answer for that host")
        target = request.target.decode("latin-1")
        if not target.startswith("/"):
            raise Refused(400, "the target must be a path")
        return target

    def _knows(self, host: str) -> bool:
        name = host_name(host)
        if name in self._hosts:
            return True
        return self._any_address and _is_address(name)


def host_name(host: str) -> str:
    """Return the name in a Host header: lower case, without port, brackets and final dot."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return ""
    else:
        name, colon, port = host.partition(":")
        if colon and not _is_port(":" + port):
            return ""
    return name.lower().removesuffix(".")


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isdecimal() and text.isascii() and len(text) <= 6


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(writer: asyncio.StreamWriter) -> bool:
    peer = writer.get_extra_info("peername")
    return bool(peer) and ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback


async def _read_request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request:
    left = MAX_HEADER_BYTES
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(400, "malformed request") from error
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            raise ConnectionResetError("closed before a request")
        if not left:
            raise Refused(431, f"more than {MAX_HEADER_BYTES} bytes of header")
        data = await reader.read(left)
        left -= len(data)
        connection.receive_data(data)


def _encode(answer: Answer, head_only: bool) -> bytes:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Connection", "close"),
        *SECURITY_HEADERS,
        *answer.headers,
    ]
    reason = _REASONS.get(answer.status, "")
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {text}" for name, text in headers)]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if head_only else head + answer.body


async def _linger(reader: asyncio.StreamReader) -> None:
    """Read on until the client closes: closing with unread bytes would take the answer back."""
    left = MAX_LINGER_BYTES
    async with asyncio.timeout(LINGER):
        while left > 0 and (data := await reader.read(64 * 1024)):
            left -= len(data)


_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}
