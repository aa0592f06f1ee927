"""The health server on a real port, and clients that behave and that do not."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from supervisor.errors import NotRunning
from supervisor.observe import http, observer
from supervisor.observe.snapshot import Snapshot
from tests.e2e.observed import GET, Served, current, read_all, serve_failing
from tests.health_snapshots import NOW, child, crashed, worker


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


def test_readiness_is_asked_in_parts(served: Served) -> None:
    """Each check by its name, and the whole without some; too many are refused."""
    part = msgspec.json.decode(served.ask(GET % b"/readyz/shop/web")[2])
    assert part == {"status": "pass"}
    assert served.ask(GET % b"/readyz/shop/none")[0] == 404
    assert served.ask(GET % b"/readyz?exclude=shop/web&exclude=root")[0] == 200
    assert served.ask(GET % (b"/readyz?" + b"exclude=a&" * 65))[0] == 400


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
