"""One command from root to the broker: what it sends, and what it makes of any answer."""

import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.control.messages import Failed, QueueAnswer, QueueCommand, Reply
from supervisor.loop import Loop
from supervisor.root import broker_call, queue_watch
from supervisor.root.broker_call import HEADER, MANAGED, REFUSED, WELCOME, call_broker
from supervisor.root.queue_watch import QueueWatch
from workers.queues import frames

COMMAND = QueueCommand("dead_show", "orders", [1, 2], 3, 4)


class Broker:
    """The other end: it does what the test says."""

    def __init__(self, where: Path) -> None:
        self.path = str(where / "queues.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(4)
        self.loop = Loop()
        self.peer: socket.socket | None = None

    def ask(self, act: Callable[[socket.socket], None]) -> Reply:
        """Call it; once the call has come, act; return the reply."""
        replies: list[Reply] = []

        def come(_mask: int) -> None:
            self.peer = self.listener.accept()[0]
            self.loop.unwatch(self.listener)
            act(self.peer)

        def answered(reply: Reply) -> None:
            replies.append(reply)
            self.loop.stop()

        self.loop.watch(self.listener, come)
        call_broker(self.loop, self.path, COMMAND, answered)
        if not replies:
            self.loop.run()
        assert len(replies) == 1
        return replies[0]

    def close(self) -> None:
        """Close all."""
        self.loop.close()
        self.listener.close()
        if self.peer is not None:
            self.peer.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Give a broker that listens."""
    one = Broker(tmp_path)
    yield one
    one.close()


def frame(kind: int, body: bytes) -> bytes:
    """Make a frame as the broker does."""
    return frames.frame(frames.Kind(kind), body)


def test_it_speaks_the_protocol_of_the_broker() -> None:
    """The few things that root knows of the wire are what the broker says they are."""
    assert HEADER.format == frames.HEADER.format
    assert broker_call.PROTOCOL == frames.PROTOCOL
    for name in ("HELLO", "MANAGE", "WELCOME", "REFUSED", "MANAGED"):
        assert getattr(broker_call, name) == frames.Kind[name]


def test_what_it_sends_is_understood(broker: Broker) -> None:
    """An observer's hello, and the command with all its fields."""
    reader, found = frames.FrameReader(), []

    def act(peer: socket.socket) -> None:
        def read(_mask: int) -> None:
            reader.received(peer.recv_into(reader.space))
            while (one := reader.next()) is not None:
                found.append((one[0], bytes(one[3])))
            if len(found) == 2:
                broker.loop.unwatch(peer)
                peer.send(frame(MANAGED, b"\xc0"))

        broker.loop.watch(peer, read)

    broker.ask(act)
    (hello_kind, hello), (manage_kind, manage) = found
    assert (hello_kind, manage_kind) == (frames.Kind.HELLO, frames.Kind.MANAGE)
    assert msgspec.msgpack.decode(hello, type=frames.Hello).role == "observer"
    command = msgspec.msgpack.decode(manage, type=frames.Command)
    assert command == frames.Command("dead_show", "orders", [1, 2], 3, 4)


def test_the_answer_is_passed_on_as_it_is(broker: Broker) -> None:
    """However its bytes come."""

    def act(peer: socket.socket) -> None:
        for byte in frame(WELCOME, b"whatever") + frame(MANAGED, b"the answer"):
            peer.send(bytes([byte]))

    assert broker.ask(act) == QueueAnswer(b"the answer")


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        (frame(REFUSED, b"no thanks"), "refused", "no thanks"),
        (frame(WELCOME, b""), "try-later", "ended before it answered"),
        (b"", "try-later", "ended before it answered"),
        (frame(MANAGED, b"half an answer")[:-3], "try-later", "ended"),
        (HEADER.pack(1 << 31, MANAGED, 0, 0), "protocol", "another protocol"),
        (b"HTTP/1.1 400 Bad Request", "protocol", "another protocol"),
    ],
    ids=["refused", "welcomed", "silent", "half", "huge", "http"],
)
def test_a_broker_that_does_not_answer(broker: Broker, said: bytes, code: str, text: str) -> None:
    """What it says before it closes the connection is a reason; nothing is waited for."""

    def act(peer: socket.socket) -> None:
        peer.send(said)
        peer.shutdown(socket.SHUT_WR)

    reply = broker.ask(act)
    assert isinstance(reply, Failed)
    assert reply.code == code
    assert text in reply.message


def test_a_broker_that_hangs_is_given_up(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root does not wait for ever; the client hears that it was too long."""
    monkeypatch.setattr(broker_call, "ANSWER_SECONDS", 0.05)
    reply = broker.ask(lambda _peer: None)
    assert isinstance(reply, Failed)
    assert (reply.code, reply.exit_code) == ("timed-out", 6)


def test_nobody_listens(broker: Broker) -> None:
    """No broker at all is an answer at once."""
    broker.listener.close()
    replies: list[Reply] = []
    call_broker(broker.loop, broker.path, COMMAND, replies.append)
    assert isinstance(replies[0], Failed)
    assert replies[0].exit_code == 75


def test_without_a_descriptor_the_broker_is_asked_the_next_time(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an answer, no error of root; and what root knows of the queues is not old for ever."""

    def no_socket(*_arguments: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    watch, known = QueueWatch(broker.loop), list[list[dict[str, Any]]]()
    with monkeypatch.context() as patched:
        patched.setattr(broker_call.socket, "socket", no_socket)
        watch.ask(broker.path, known.append)
    assert known == [[]]
    monkeypatch.setattr(queue_watch, "call_broker", answering([{"name": "orders"}]))
    watch.ask(broker.path, known.append)
    assert known[1:] == [[{"name": "orders"}]]


def answering(facts: list[dict[str, Any]]) -> Callable[..., None]:
    """Make a call of the broker that is answered at once."""

    def call(_loop: Loop, _path: str, _command: QueueCommand, answered: Any) -> None:
        answered(QueueAnswer(msgspec.msgpack.encode(facts)))

    return call
