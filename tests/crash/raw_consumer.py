"""A consumer, and a producer's frames, that say to a broker whatever a test wants."""

import array
import socket
from typing import Any

import msgspec

from tests.crash.queue_harness import Raw, Scene
from workers.queues import payload
from workers.queues.cursor import CursorWriter
from workers.queues.frames import (
    PAIR,
    PREFIX,
    SIZE,
    Command,
    Hello,
    Kind,
    Nack,
    Options,
    Rejected,
    frame,
)


def put(sequence: int, *messages: Any, **options: Any) -> bytes:
    """Make a frame that puts messages."""
    encoded = msgspec.msgpack.encode(Options(**options)) if options else b""
    body = SIZE.pack(len(encoded)) + encoded + payload.encode(messages)
    return frame(Kind.PUT, body, len(messages), sequence)


def command(scene: Scene, name: str, **arguments: Any) -> dict[str, Any]:
    """Give the broker a command."""
    with scene.raw(Hello("observer")) as observer:
        asked = Command(name, "q", **arguments)
        observer.send(frame(Kind.MANAGE, msgspec.msgpack.encode(asked)))
        found: dict[str, Any] = msgspec.msgpack.decode(observer.expect(Kind.MANAGED)[1])
    return found


class RawConsumer:
    """A consumer that says what it is told to."""

    def __init__(self, scene: Scene, window: int = 10) -> None:
        self.cursor = CursorWriter()
        self.raw = Raw(scene.path, None)
        hello = frame(Kind.HELLO, msgspec.msgpack.encode(Hello("consumer", "q")))
        rights = array.array("i", [self.cursor.fd])
        self.raw.socket.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self.raw.expect(Kind.WELCOME)
        self.raw.send(frame(Kind.CREDIT, argument=window))

    def __enter__(self) -> "RawConsumer":
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.socket.close()
        self.cursor.close()

    def next(self) -> tuple[int, int, Options, list[Any]]:
        """Wait for a chunk; return its number, attempt, options and messages."""
        chunk, body = self.raw.expect(Kind.DELIVER)
        _done, attempt, size, *_ = PREFIX.unpack_from(body)
        encoded = body[PREFIX.size : PREFIX.size + size]
        options = msgspec.msgpack.decode(encoded, type=Options) if size else Options()
        messages: list[Any] = msgspec.msgpack.decode(body[PREFIX.size + size :])
        return chunk, attempt, options, messages

    def ack(self, chunk: int, done: int) -> None:
        """Settle."""
        self.raw.send(frame(Kind.ACK, PAIR.pack(chunk, done), 1))

    def nack(self, chunk: int, index: int = 0, **nack: Any) -> None:
        """Refuse a message."""
        self.raw.send(frame(Kind.NACK, msgspec.msgpack.encode(Nack(**nack)), index, chunk))


def rejected(producer: Raw) -> tuple[int, str]:
    """Wait for a refusal; return the sequence and the reason."""
    sequence, body = producer.expect(Kind.REJECTED)
    return sequence, msgspec.msgpack.decode(body, type=Rejected).reason
