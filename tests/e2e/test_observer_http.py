"""The health server on a real port, and clients that behave and that do not."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.control.frames import HEADER_BYTES, MAX_REPLY_BYTES, frame
from supervisor.control.messages import SnapshotReply, encode
from supervisor.errors import NotRunning
from supervisor.link import Channel, FromWorker, Ready, StopRequest, pair
from supervisor.observe import http, observer
from supervisor.observe.snapshot import Snapshot
from tests.health_snapshots import NOW, child, crashed, snapshot, worker

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def served() -> Iterator[Served]:
    """An observer of a healthy app."""

    async def fetch() -> Snapshot:
        return current()

    made = Served(fetch)
    yield made
    made.close()


def test_every_endpoint_answers_as_promised(served: Served) -> None:
    """200, JSON, never stored, never kept alive, with the security headers."""
    for path in ("/healthz", "/livez", "/readyz", "/startupz", "/version", "/healthz?x=1"):
        status, headers, body = served.ask(GET % path.encode())
        assert (path, status) == (path, 200)
        assert msgspec.json.decode(body)
        assert headers["content-type"] == "application/health+json"
        assert headers["connection"] == "close"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY".lower()
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert not [name for name in headers if name.startswith("access-control")]


def test_a_client_on_this_machine_sees_the_tree(served: Served) -> None:
    """The whole document on /healthz, and each part under its path."""
    document = msgspec.json.decode(served.ask(GET % b"/healthz")[2])
    assert document["supervisor"]["tree"]["path"] == "shop"
    part = msgspec.json.decode(served.ask(GET % b"/healthz/tree/shop/web")[2])
    assert part["ready"] == 1
    assert served.ask(GET % b"/healthz/tree/shop/none")[0] == 404
    assert served.ask(GET % b"/")[0] == 404


def test_head_is_get_without_the_body(served: Served) -> None:
    """Same status and length, nothing after the headers."""
    status, headers, body = served.ask(b"HEAD /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
    got = served.ask(GET % b"/version")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == got[1]["content-length"]


@pytest.mark.parametrize(
    ("method", "status"),
    [
        *((method, 405) for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")),
        *((method, 501) for method in ("PROPFIND", "get", "BREW")),
    ],
)
def test_other_methods_are_refused(served: Served, method: str, status: int) -> None:
    """What is not GET or HEAD does not reach anything."""
    request = f"{method} /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    assert served.ask(request)[0] == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:9", "[::1]")),
        *((host, 421) for host in ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io")),
        *((host, 421) for host in ("", "[::1", "::1", "localhost:x", "10.0.0.1", "localhost@evil")),
    ],
)
def test_only_known_hosts_are_answered_for(served: Served, host: str, status: int) -> None:
    """A page of another site whose name points here learns nothing."""
    request = f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert served.ask(request)[0] == status


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_and_closed(served: Served, request_bytes: bytes) -> None:
    """400, and nothing after it: there is no second request on a connection."""
    status, headers, _ = served.ask(request_bytes)
    assert status == 400
    assert headers["connection"] == "close"


def test_a_second_request_is_not_read(served: Served) -> None:
    """Two requests in one go get one answer."""
    with closing(served.connect()) as client:
        client.sendall(GET % b"/livez" + GET % b"/healthz")
        assert read_all(client).count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"x" * 9000,
        b"\r\n".join(b"X%d: y" % n for n in range(64)),
        b"X: " + b"x" * (300 * 1024),
    ],
)
def test_large_headers_are_refused(served: Served, headers: bytes) -> None:
    """More than 8 KiB or 64 headers: 431, which the client gets to see."""
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n"
    client = served.connect()
    sender = threading.Thread(target=send_quietly, args=(client, request))
    sender.start()
    answer = read_all(client)
    sender.join(10)
    client.close()
    assert answer.startswith(b"HTTP/1.1 431 ")


def send_quietly(client: socket.socket, data: bytes) -> None:
    """Send; the server may have had enough."""
    try:
        client.sendall(data)
    except OSError:
        pass


def test_a_large_request_target_is_within_the_same_limit(served: Served) -> None:
    """The request line counts as header."""
    assert served.ask(GET % (b"/" + b"x" * 7000))[0] == 404
    assert served.ask(GET % (b"/" + b"x" * 8200))[0] == 431


def test_slow_clients_are_cut_off_and_hold_nobody_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 that never finish: the next is closed at once; after the deadline all is well again."""
    monkeypatch.setattr(http, "HEADER_DEADLINE", 0.5)
    slow = [served.connect() for _ in range(http.MAX_CONNECTIONS)]
    for client in slow:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost:")
    with closing(served.connect()) as excess:
        assert read_all(excess) == b""
    for client in slow:
        with closing(client):
            assert read_all(client).startswith(b"HTTP/1.1 408 ")
    assert served.ask(GET % b"/livez")[0] == 200


def test_a_client_that_sends_nothing_and_one_that_resets_leave_nothing(served: Served) -> None:
    """Connections that end early free their place."""
    for _ in range(2 * http.MAX_CONNECTIONS):
        client = served.connect()
        client.sendall(b"GET")
        client.close()
    deadline = time.monotonic() + 10
    while not answered(served):
        assert time.monotonic() < deadline


def answered(served: Served) -> bool:
    """Whether there is a place for one more."""
    with closing(served.connect()) as client:
        send_quietly(client, GET % b"/livez")
        return read_all(client).startswith(b"HTTP/1.1 200 ")


def serve_failing(error: BaseException | None, sleep: float = 0.0) -> Served:
    """An observer whose root does not answer."""

    async def fetch() -> Snapshot:
        await asyncio.sleep(sleep)
        if error is not None:
            raise error
        return current()

    return Served(fetch)


@pytest.mark.parametrize(
    ("error", "sleep"), [(NotRunning("gone"), 0.0), (ConnectionResetError(), 0.0), (None, 60.0)]
)
def test_a_root_that_does_not_answer_is_not_alive(
    error: BaseException | None, sleep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 on all endpoints, within the deadline."""
    monkeypatch.setattr(observer, "FETCH_DEADLINE", 0.2)
    served = serve_failing(error, sleep)
    try:
        for path in (b"/livez", b"/readyz", b"/healthz", b"/startupz"):
            status, _, body = served.ask(GET % path)
            assert status == 503
            assert b"root does not answer" in body
    finally:
        served.close()


def test_an_error_of_ours_is_a_500_without_details() -> None:
    """The name of the exception, nothing of its text."""
    served = serve_failing(ValueError("secret"))
    try:
        status, _, body = served.ask(GET % b"/healthz")
        assert status == 500
        assert b"ValueError" in body
        assert b"secret" not in body
    finally:
        served.close()


def test_root_is_asked_at_most_twice_a_second() -> None:
    """Any number of clients costs root two snapshots a second."""
    asked = 0

    async def fetch() -> Snapshot:
        nonlocal asked
        asked += 1
        return current()

    served = Served(fetch)
    try:
        began = time.monotonic()
        for _ in range(100):
            assert served.ask(GET % b"/healthz")[0] == 200
        assert asked <= 1 + (time.monotonic() - began) / observer.FRESH
    finally:
        served.close()


def test_a_critical_child_that_is_down_is_a_503_with_its_reason() -> None:
    """/healthz and /readyz say which; /livez stays 200."""
    minute = NOW - time.time() + 60
    down = child("shop/web", worker("shop/web.0", "restarting", last_exit=crashed(minute)))

    async def fetch() -> Snapshot:
        return current(down)

    served = Served(fetch)
    try:
        status, _, body = served.ask(GET % b"/healthz")
        assert status == 503
        assert "shop/web.0 is restarting" in msgspec.json.decode(body)["output"]
        assert served.ask(GET % b"/readyz")[0] == 503
        assert served.ask(GET % b"/livez")[0] == 200
    finally:
        served.close()


PROGRAM = """
import socket, sys
from supervisor.link import Context, WorkerLink
from supervisor.observe.observer import main
end, listener = map(int, sys.argv[1:3])
link = WorkerLink(socket.socket(fileno=end), Context("runtime/observer.0", 1))
main(link, bytes.fromhex(sys.argv[3]), {"listener": listener})
"""


class FakeRoot:
    """A control socket that answers every request with a snapshot, until it is told to hang."""

    def __init__(self, path: str) -> None:
        self.answering = True
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.answering:
                self._held.append(client)
                continue
            with closing(client):
                size = int.from_bytes(client.recv(HEADER_BYTES), "big")
                client.recv(size)
                client.sendall(frame(encode(SnapshotReply(current())), MAX_REPLY_BYTES))

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        for client in self._held:
            client.close()


def start_observer(listener: socket.socket, control: str) -> tuple[Any, Channel[FromWorker]]:
    """Start a real observer process on a socket that is kept here, as root does."""
    ours, theirs = pair()
    argument = msgspec.msgpack.encode({"host": "127.0.0.1", "port": 0, "control": control})
    process = subprocess.Popen(
        [
            sys.executable, "-c", PROGRAM,
            str(theirs.fileno()), str(listener.fileno()), argument.hex(),
        ],
        pass_fds=(theirs.fileno(), listener.fileno()),
        cwd=ROOT,
    )  # fmt: skip
    theirs.close()
    channel: Channel[FromWorker] = Channel(ours, FromWorker)
    received = channel.receive()
    assert received is not None
    assert isinstance(received[0], Ready)
    return process, channel


def test_the_observer_serves_what_root_says_and_its_port_outlives_it(tmp_path: Path) -> None:
    """A real process: a hanging root is a 503; killed, its successor answers who waited."""
    control = os.path.join(tmp_path, "control.sock")
    root = FakeRoot(control)
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    process, channel = start_observer(listener, control)
    try:
        status, _, body = exchange(socket.create_connection(address, 10), GET % b"/healthz")
        assert status == 200
        assert msgspec.json.decode(body)["supervisor"]["instance"]["name"] == "shop"
        process.kill()
        process.wait(10)
        channel.close()
        waiting = socket.create_connection(address, 10)
        process, channel = start_observer(listener, control)
        root.answering = False
        status, _, body = exchange(waiting, GET % b"/livez")
        assert (status, msgspec.json.decode(body)["status"]) == (503, "fail")
        channel.send(StopRequest(5.0))
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
        channel.close()
        root.close()
        listener.close()
