"""An observer that is served in this process, and clients of it that speak bytes."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

from supervisor.observe import observer
from supervisor.observe.snapshot import Snapshot
from tests.health_snapshots import child, snapshot

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Served:
    """An observer in a thread of this process, asked by raw sockets."""

    def __init__(self, fetch: Callable[[], Awaitable[Snapshot]]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._fetch = fetch
        self._serving = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._serving.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        options = observer.Options("127.0.0.1", self.port, "")
        server = await observer.serve(self._fetch, self.listener, options)
        self._serving.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def close(self) -> None:
        """End it and wait for its end."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self.listener.close()

    def connect(self) -> socket.socket:
        """Connect to it."""
        return socket.create_connection(("127.0.0.1", self.port), 15)

    def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes, read until it closes."""
        return exchange(self.connect(), request)


def exchange(client: socket.socket, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, read the answer until the server closes: status, headers, body."""
    with closing(client):
        client.sendall(request)
        answer = read_all(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def read_all(client: socket.socket) -> bytes:
    """Read to the end; a reset is an end too."""
    found = b""
    try:
        while piece := client.recv(65536):
            found += piece
            if b"Content-Length: " in found and complete(found):
                client.shutdown(socket.SHUT_WR)
    except (ConnectionError, OSError):
        pass
    return found


def complete(answer: bytes) -> bool:
    """Whether the announced body is there."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    return len(body) >= length


def current(*children: Any, **more: Any) -> Snapshot:
    """A snapshot of now."""
    return snapshot(*(children or [child("shop/web")]), time=time.time(), **more)


def serve_failing(error: BaseException | None, sleep: float = 0.0) -> Served:
    """An observer whose root does not answer."""

    async def fetch() -> Snapshot:
        await asyncio.sleep(sleep)
        if error is not None:
            raise error
        return current()

    return Served(fetch)
