"""What a queue of each serializer takes, and gives."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.queue_harness import Scene
from tests.crash.queue_workers import Start, crews
from workers import QueueWriter
from workers.queues.client.reader import QueueReader


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make a scene and a crew for it."""
    yield from crews(tmp_path)


def test_bytes_are_taken_as_they_are(start: Start) -> None:
    """A queue of bytes takes and gives bytes, and nothing else."""
    scene, _ = start(serializer="bytes")
    with QueueWriter("q", scene.path) as writer:
        writer.put(b"\xff\x00")
        writer.put_many([b"a", bytearray(b"b")])
        with pytest.raises(TypeError):
            writer.put("text")
    assert take(scene, 3) == [b"\xff\x00", b"a", b"b"]


def test_what_is_pickled_is_unpickled_by_the_worker(start: Start) -> None:
    """A queue of pickles takes what Python can pickle; what it cannot is a TypeError."""
    scene, _ = start(serializer="pickle")
    with QueueWriter("q", scene.path) as writer:
        writer.put({1, 2})
        writer.put_many([complex(1, 2)])
        with pytest.raises(TypeError):
            writer.put(lambda: None)
    assert take(scene, 2) == [{1, 2}, complex(1, 2)]


def take(scene: Scene, count: int) -> list[Any]:
    """Take so many messages."""
    reader, found = QueueReader("q", scene.path), list[Any]()
    while len(found) < count:
        for delivery in reader.receive(time.monotonic() + 10):
            found.append(delivery.message)
            reader.done(delivery)
    reader.close()
    return found
