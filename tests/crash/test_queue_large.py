"""Large messages, which travel by shared memory: none is lost, and nobody waits for ever."""

import array
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.crash.queue_harness import PATIENCE, Make, Scene, scenes
from workers.queues.client.reader import QueueReader
from workers.queues.client.writer import QueueWriter
from workers.queues.cursor import CursorWriter
from workers.queues.frames import HEADER, SHARED, Hello, Kind, frame
from workers.queues.ring import PLACE, ROOM, make

#: Bytes of a message: a ring holds a few of them.
LARGE = 100_000
#: Messages: more than one ring holds, and two.
COUNT = 3 * ROOM // LARGE


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Make]:
    """Make scenes, and end what is in them."""
    yield from scenes(tmp_path)


def body(number: int) -> bytes:
    """Return a message that says which one it is, at both ends."""
    return number.to_bytes(4, "big") * (LARGE // 4)


def fill(scene: Scene, count: int = COUNT) -> None:
    """Put so many messages."""
    with QueueWriter("q", scene.path) as writer:
        for number in range(count):
            writer.put(body(number))


def test_large_messages_survive_their_consumers_and_the_broker_holds_them_whole(
    start: Make,
) -> None:
    """Consumers that are killed with a full ring lose nothing; what comes again is what was put."""
    scene = start()

    def consume() -> None:
        reader = QueueReader("q", scene.path)
        while True:
            for delivery in reader.receive():
                number = int.from_bytes(delivery.message[:4], "big")
                os.write(scene.reports.write_fd, b"%d %d\n" % (number, delivery.attempt))
                assert delivery.message == body(number)
                reader.done(delivery)
                if number % 7 == 3 and delivery.attempt == 1:
                    os.kill(os.getpid(), signal.SIGKILL)

    fill(scene)
    seen: list[int] = []
    while len(set(seen)) < COUNT:
        consumer = scene.fork(consume)
        while os.waitid(os.P_PID, consumer, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            seen += [number for number, _ in scene.reports.lines(0.2)]
            if len(set(seen)) == COUNT:
                break
        seen += [number for number, _ in scene.reports.lines(0.0)]
        scene.kill(consumer)
    assert set(seen) == set(range(COUNT))
    assert len(seen) == COUNT  # each was done before its consumer ended


@pytest.mark.parametrize("lanes", [1, COUNT])
def test_who_takes_more_than_a_ring_holds_gets_it(start: Make, lanes: int) -> None:
    """A consumer that acknowledges nothing is given all that it has room for, all the same."""
    scene = start()
    fill(scene)
    reader = QueueReader("q", scene.path, prefetch=COUNT, lanes=lanes)
    found, deadline = [], time.monotonic() + PATIENCE
    while len(found) < COUNT:
        if lanes > 1:  # as a loop that waits elsewhere does
            assert select.select([reader.door.fileno()], [], [], deadline - time.monotonic())[0]
        chunks = reader.take(deadline, block=lanes == 1, keep=True)
        found += [message for chunk in chunks for message in chunk.messages]
        assert time.monotonic() < deadline
    assert found == [body(number) for number in range(COUNT)]
    reader.close()


def test_a_producer_is_held_back_by_bytes_and_goes_on(start: Make) -> None:
    """The bytes of a queue are counted, wherever they came from; order is kept."""
    scene = start(max_bytes=4 * LARGE)
    producer = scene.fork(fill, scene)
    scene.until(blocked=1)
    assert 2 * LARGE < scene.stat()["bytes"] <= 4 * LARGE
    reader, found = QueueReader("q", scene.path), []
    while len(found) < COUNT:
        for delivery in reader.receive(time.monotonic() + PATIENCE):
            found.append(int.from_bytes(delivery.message[-4:], "big"))
            reader.done(delivery)
    assert found == list(range(COUNT))
    assert scene.ended(producer) == 0
    reader.close()


def connect(scene: Scene, hello: Hello, *fds: int) -> socket.socket:
    """Connect as a client that says and sends so."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.connect(scene.path)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([frame(Kind.HELLO, msgspec.msgpack.encode(hello))], rights)
    return sock


def last_word(sock: socket.socket) -> tuple[int, bytes]:
    """Return the last frame that the broker sends before it closes."""
    data = b""
    while more := sock.recv(1 << 16):
        data += more
    sock.close()
    last = 0, b""
    while data:
        size, kind, _, _ = HEADER.unpack_from(data)
        last = kind, data[HEADER.size : HEADER.size + size]
        data = data[HEADER.size + size :]
    return last


@pytest.mark.parametrize(
    "place", [b"", b"x", PLACE.pack(ROOM - 1, 2), PLACE.pack(2**64 - 1, 2**32 - 1)]
)
def test_a_producer_that_lies_about_its_ring_ends_alone(start: Make, place: bytes) -> None:
    """A body where there is none closes its connection, and nobody else's."""
    scene = start()
    ring = make()
    liar = connect(scene, Hello("producer", "q", "liar", ring=True), ring)
    os.close(ring)
    liar.sendall(HEADER.pack(len(place), Kind.PUT | SHARED, 1, 1) + place)
    assert last_word(liar)[0] == Kind.REFUSED
    fill(scene, 1)
    assert scene.stat()["accepted_total"] == 1


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_who_promises_a_ring_and_sends_none_is_refused(start: Make, role: str) -> None:
    """It is told what is missing; a descriptor of something else is none."""
    scene = start()
    cursor = CursorWriter()
    for fds in ([cursor.fd], [cursor.fd, cursor.fd]):
        client = connect(scene, Hello(role, "q", ring=True), *fds)
        kind, why = last_word(client)
        assert (kind, b"ring" in why) == (Kind.REFUSED, True), why
    cursor.close()
    fill(scene, 1)


def test_a_body_in_a_ring_that_there_is_not_is_refused(start: Make) -> None:
    """Who has said nothing of a ring has none."""
    scene = start()
    client = connect(scene, Hello("producer", "q", "none"))
    client.sendall(HEADER.pack(PLACE.size, Kind.PUT | SHARED, 1, 1) + PLACE.pack(0, 10))
    kind, why = last_word(client)
    assert (kind, b"ring" in why) == (Kind.REFUSED, True)
