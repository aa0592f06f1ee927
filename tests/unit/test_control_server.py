"""The control socket: who may talk, what is refused, and that nobody can hold root up."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from supervisor.control import client, connection, messages
from supervisor.control import server as server_module
from supervisor.control.errors import CommandFailed, NoAnswer
from supervisor.control.frames import HEADER_BYTES, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, frame
from supervisor.control.messages import Done, Failed, GetSnapshot, Ping, Pong, Reply, Request
from supervisor.control.peer import Peer
from supervisor.control.server import Answer, ControlServer
from supervisor.errors import NoSuchChild, NotRunning
from supervisor.loop import Loop
from supervisor.observe.snapshot import Snapshot, SupervisorStatus

SNAPSHOT = Snapshot(
    "shop", "app:tree", "running", 1, "r", "1", 2.0, 1.0,
    SupervisorStatus("shop", "ready", "one_for_one", "permanent", 3, 5, 0, []), [],
)  # fmt: skip


class Root:
    """A control server with a handler of the test's, on a loop in a thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.held: list[tuple[Request, Answer]] = []  # requests nobody answers yet
        self.arrived = threading.Semaphore(0)
        self.peers: list[Peer] = []
        self.loop = Loop()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(64)
        listener.setblocking(False)
        self.server = ControlServer(self.loop, listener, self.handle)
        self._calls: list[Callable[[], None]] = []
        self._wake, self._waker = socket.socketpair()
        self.loop.watch(self._wake, self._on_wake)
        self._thread = threading.Thread(target=self.loop.run)

    def handle(self, request: Request, peer: Peer, answer: Answer) -> None:
        """Serve the requests of the tests."""
        self.peers.append(peer)
        match request:
            case Ping():
                answer(Pong("shop", 7))
            case GetSnapshot():
                answer(messages.SnapshotReply(SNAPSHOT))
            case messages.RestartChildren(path="missing"):
                raise NoSuchChild("no child missing")
            case messages.RestartChildren(path="bug"):
                raise ZeroDivisionError("oops")
            case messages.RestartChildren(path="twice"):
                answer(Done("once"))
                answer(Done("twice"))
            case messages.RestartChildren(path="large"):
                answer(Done("x" * 3_000_000))
            case _:
                self.held.append((request, answer))
                self.arrived.release()

    def call(self, function: Callable[[], None]) -> None:
        """Run something in the loop's thread."""
        self._calls.append(function)
        self._waker.send(b"x")

    def _on_wake(self, _mask: int) -> None:
        for _ in self._wake.recv(100):
            self._calls.pop(0)()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.call(self.loop.stop)
        self._thread.join()
        self.server.close()
        self.loop.close()
        self._wake.close()
        self._waker.close()

    def is_served(self) -> bool:
        """Ask it, as a client of its own."""
        with client.ControlClient(self.path) as control:
            return control.request(Ping()) == Pong("shop", 7)

    def connect(self) -> socket.socket:
        """Connect without a client's manners."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(self.path)
        return sock


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """Serve a control socket."""
    with Root(str(tmp_path / "control.sock")) as running:
        yield running


def receive(sock: socket.socket) -> Reply | None:
    """Read one reply; None at the end of the stream."""
    data = b""
    while len(data) < HEADER_BYTES or len(data) < HEADER_BYTES + int.from_bytes(data[:4], "big"):
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            return None
        if not piece:
            return None
        data += piece
    return messages.decode_reply(data[HEADER_BYTES:])


def framed(request: Request) -> bytes:
    """Put a request into a frame."""
    return frame(messages.encode(request), MAX_REQUEST_BYTES)


def test_requests_are_answered_in_turn(root: Root) -> None:
    """One connection takes any number of requests, and the handler knows who asks."""
    with client.ControlClient(root.path) as control:
        assert control.request(Ping()) == Pong("shop", 7)
        assert control.request(Ping()) == Pong("shop", 7)
        assert control.peer.pid == os.getpid()
    assert root.peers[0] == Peer(os.getpid(), os.getuid(), os.getgid())


def test_a_snapshot_comes_back_whole(root: Root) -> None:
    """Blocking and asyncio clients get the same tree."""
    assert client.get_snapshot(root.path) == SNAPSHOT
    assert asyncio.run(client.snapshot(root.path)) == SNAPSHOT


def test_a_refusal_reaches_the_client_with_its_exit_code(root: Root) -> None:
    """What a handler raises on purpose is the answer; a bug in it is one too, and root lives."""
    with pytest.raises(CommandFailed, match="no child missing") as caught:
        client.ask(root.path, messages.RestartChildren("missing"))
    assert (caught.value.code, caught.value.exit_code) == ("no-such-child", 4)
    with pytest.raises(CommandFailed, match="ZeroDivisionError: oops") as caught:
        client.ask(root.path, messages.RestartChildren("bug"))
    assert caught.value.exit_code == 70
    assert client.ask(root.path, messages.RestartChildren("twice")) == Done("once")


def test_large_replies_are_written_as_the_client_reads(root: Root) -> None:
    """A reply that does not fit into the socket's buffer arrives whole."""
    done = client.ask(root.path, messages.RestartChildren("large"))
    assert len(done.message) == 3_000_000


def test_requests_sent_ahead_are_answered_in_order(root: Root) -> None:
    """Up to a limit; the next request is not begun before the last is answered."""
    with root.connect() as sock:
        sock.sendall(framed(messages.StartChildren("a")) + framed(messages.StartChildren("b")))
        root.arrived.acquire()
        assert [request for request, _ in root.held] == [messages.StartChildren("a")]
        root.call(lambda: root.held[0][1](Done("a")))
        assert receive(sock) == Done("a")
        root.arrived.acquire()
        root.call(lambda: root.held[1][1](Done("b")))
        assert receive(sock) == Done("b")
        sock.sendall(framed(messages.StartChildren("c")) * (connection.MAX_AHEAD + 2))
        reply = receive(sock)
        assert isinstance(reply, Failed)
        assert "ahead" in reply.message
        assert receive(sock) is None


def test_a_client_that_leaves_changes_nothing(root: Root) -> None:
    """Its command goes on, and the answer to nobody is dropped."""
    sock = root.connect()
    sock.sendall(framed(messages.StartChildren("a")))
    root.arrived.acquire()
    sock.close()
    assert root.is_served()
    root.call(lambda: root.held[0][1](Done("a")))
    assert root.is_served()


MALFORMED = {
    "no msgpack": frame(b"\xc1\xc1", 100),
    "truncated msgpack": frame(b"\xdf\xff\xff\xff\xff", 100),
    "an array": frame(b"\x93\x01\x02\x03", 100),
    "deep nesting": frame(b"\x91" * 60_000, 100_000),
    "deep nesting in a field": frame(
        b"\x82\xa4type\xa7restart\xa4path" + b"\x91" * 60_000, 100_000
    ),
    "no type": frame(b"\x80", 100),
    "unknown command": frame(b"\x81\xa4type\xa9__class__", 100),
    "unknown field": frame(b"\x82\xa4type\xa4ping\xa1x\xc0", 100),
    "not a number": frame(
        b"\x83\xa4type\xa5scale\xa4path\xa1a\xa5count\xcb\x7f\xf8\0\0\0\0\0\0", 100
    ),
    "too many slots": frame(b"\x83\xa4type\xa5scale\xa4path\xa1a\xa5count\xce\x7f\xff\xff\xff", 99),
    "bad utf-8": frame(b"\x82\xa4type\xa7restart\xa4path\xa1\xff", 100),
    "a path too long": frame(b"\x82\xa4type\xa7restart\xa4path\xda\x20\x00" + b"a" * 8192, 9999),
    "trailing bytes": frame(b"\x81\xa4type\xa4ping\xc0", 100),
    "empty": b"\0\0\0\0",
    "oversize": b"\xff\xff\xff\xff" + b"a" * 1000,
    "text": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_of_the_protocol_ends_that_connection_only(root: Root, data: bytes) -> None:
    """The client hears why and is cut off; others are served."""
    with root.connect() as sock:
        sock.sendall(data)
        reply = receive(sock)
        assert isinstance(reply, Failed)
        assert reply.code == "protocol"
        assert receive(sock) is None
    assert root.is_served()
    assert not root.held


def test_an_endless_frame_is_cut_off(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that trickle in do not extend the deadline."""
    monkeypatch.setattr(connection, "DEADLINE", 0.05)
    with root.connect() as sock:
        sock.sendall(b"\0\0\x10\0" + b"a")
        assert receive(sock) is None


def test_a_client_that_does_not_read_is_cut_off(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reply waits for a bounded time."""
    monkeypatch.setattr(connection, "DEADLINE", 0.05)
    gone = threading.Event()
    root.server.closed = lambda one: (ControlServer.closed(root.server, one), gone.set())[0]  # type: ignore[method-assign]
    with root.connect() as sock:
        sock.sendall(framed(messages.RestartChildren("large")))
        assert gone.wait(5)


def test_connections_are_bounded(root: Root) -> None:
    """The one too many hears why; a place that comes free is used again."""
    socks = [root.connect() for _ in range(server_module.MAX_CONNECTIONS)]
    for sock in socks:
        sock.sendall(framed(Ping()))
        assert receive(sock) == Pong("shop", 7)
    with client.ControlClient(root.path) as one_more:
        reply = one_more.request(Ping())
    assert isinstance(reply, Failed)
    assert (reply.code, reply.exit_code) == ("overloaded", 75)
    freed = threading.Event()
    root.server.closed = lambda one: (ControlServer.closed(root.server, one), freed.set())[0]  # type: ignore[method-assign]
    socks[0].close()
    assert freed.wait(5)
    assert root.is_served()
    for sock in socks[1:]:
        sock.close()


def test_a_client_that_waits_too_long_gives_up(root: Root) -> None:
    """The message says that the command may still be carried out."""
    with pytest.raises(NoAnswer, match="may still be carried out") as caught:
        client.ask(root.path, messages.StartChildren("a"), timeout=0.05)
    assert caught.value.exit_code == 6


def test_nobody_there_is_not_running(tmp_path: Path) -> None:
    """No socket, and a socket that nobody listens on."""
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale.sock"))
    stale.close()
    for name in ("none.sock", "stale.sock"):
        with pytest.raises(NotRunning):
            client.ControlClient(str(tmp_path / name))
        with pytest.raises(NotRunning):
            asyncio.run(client.snapshot(str(tmp_path / name)))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_user_is_refused(root: Root) -> None:
    """The kernel's word on who asks counts, whatever the file's mode allows."""
    os.chmod(root.path, 0o777)
    directory = Path(root.path)
    for parent in (directory.parent, directory.parent.parent, directory.parent.parent.parent):
        parent.chmod(0o755)
    script = (
        "import os, socket, sys; os.setresuid(65534, 65534, 65534);"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(5);"
        "s.connect(sys.argv[1]); sys.stdout.buffer.write(s.recv(4096))"
    )
    command = [sys.executable, "-c", script, root.path]
    asked = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    reply = messages.decode_reply(asked.stdout[HEADER_BYTES:])
    assert isinstance(reply, Failed)
    assert (reply.code, reply.exit_code) == ("not-permitted", 77)


class Listener:
    """A listener whose accepts fail as told: with these errors, 0 for none."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.accepts = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Fail, or have a client."""
        self.accepts += 1
        code = self.errors.pop(0) if self.errors else 0
        if code:
            raise OSError(code, os.strerror(code))
        one, other = socket.socketpair()
        other.close()
        return one, None

    def fileno(self) -> int:
        """Be open."""
        return 3


class StillLoop(Loop):
    """A loop that only notes what is asked of it."""

    def __init__(self) -> None:
        self.watched: list[object] = []
        super().__init__()

    def watch(self, fileobj: object, callback: Callable[[int], None], mask: int = 1) -> None:
        """Note it."""
        self.watched.append(fileobj)

    def unwatch(self, fileobj: object) -> None:
        """Note it."""
        if fileobj in self.watched:
            self.watched.remove(fileobj)


def test_without_descriptors_accept_does_not_spin() -> None:
    """Clients are served with the reserve but for its last, which turns one away; then a pause."""
    loop = StillLoop()
    listener = Listener(*[errno.EMFILE, 0] * server_module.RESERVED)
    told = list[str]()
    exhausted = partial(told.append, "none left")
    server = ControlServer(loop, listener, lambda *_: None, exhausted)  # type: ignore[arg-type]
    assert listener in loop.watched
    server._on_connection(1)
    served = server_module.RESERVED - 1
    assert listener.accepts == 2 * (served + 1)  # those that failed, those served, one turned away
    assert len(server._connections) == served
    assert listener not in loop.watched
    assert told == ["none left"] * (served + 1)
    server._resume()
    assert listener in loop.watched
    for served_one in list(server._connections):
        served_one.close()
    assert server._reserve.held == server_module.RESERVED
    server._reserve.release()
    loop.close()


def test_a_reply_that_is_too_large_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets a reason instead of silence."""
    assert MAX_REPLY_BYTES > 1 << 20
    monkeypatch.setattr(server_module, "MAX_REPLY_BYTES", 200)
    reply = messages.decode_reply(server_module._framed(Done("x" * 1000))[HEADER_BYTES:])
    assert isinstance(reply, Failed)
    assert reply.code == "too-large"
