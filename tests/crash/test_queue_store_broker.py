"""A broker whose store has no space, fails, is kept by another broker, or is damaged."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_harness import Make, scenes
from tests.crash.raw_consumer import RawConsumer, command, put, rejected
from workers.queues.frames import Hello, Kind
from workers.queues.store.sqlite.store import SqliteStore

FOLDER = "queues/q"
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="faults are made by strace")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make scenes, and end what is in them."""
    yield from scenes(tmp_path)


@contextlib.contextmanager
def failing(pid: int, calls: str, error: str) -> Iterator[None]:
    """Let system calls of a process fail, for a while."""
    tracer = subprocess.Popen(
        [
            "strace", "-p", str(pid), "-o", os.devnull, "-e", f"trace={calls}",
            "-e", f"inject={calls}:error={error}",
        ],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert tracer.stderr is not None
    try:
        assert b"attached" in tracer.stderr.readline()
        yield
    finally:
        tracer.terminate()
        tracer.wait()
        tracer.stderr.close()


@needs_strace
def test_no_space_refuses_puts_until_there_is(make: Make) -> None:
    """ENOSPC: puts are refused with a reason, what is there is delivered; it recovers alone."""
    scene = make(durable="full")
    with scene.raw(Hello("producer", "q", "me")) as producer, RawConsumer(scene, 1) as consumer:
        producer.send(put(1, 1) + put(2, 2))
        while producer.expect(Kind.CONFIRM)[0] < 2:
            pass
        with failing(scene.broker, "pwrite64,fallocate", "ENOSPC"):
            producer.send(put(3, 3))
            assert rejected(producer) == (3, "store")
            assert "full" in str(scene.stat()["store"])
            chunk, *_ = consumer.next()
            consumer.ack(chunk, 1)
            assert consumer.next()[3] == [2]
        scene.until(store="ok")
        producer.send(put(4, 4))
        assert producer.expect(Kind.CONFIRM)[0] == 4
    scene.kill(scene.broker)
    scene.start_broker()
    with scene.raw(Hello("producer", "q", "me")) as producer:
        producer.send(put(3, 3) + put(5, 5))
        assert rejected(producer) == (3, "store")  # as it was told before
        assert producer.expect(Kind.CONFIRM)[0] == 5
    with RawConsumer(scene) as consumer:
        assert [consumer.next()[3] for _ in range(3)] == [[2], [4], [5]]


@needs_strace
@pytest.mark.parametrize("calls", ["fdatasync", "pwrite64"])
def test_a_failing_device_refuses_puts_until_it_works(make: Make, calls: str) -> None:
    """EIO: nothing is confirmed that is not kept; what was confirmed is there, in a new file."""
    scene = make(durable="full")
    with scene.raw(Hello("producer", "q", "me")) as producer:
        producer.send(put(1, 1))
        producer.expect(Kind.CONFIRM)
        with failing(scene.broker, calls, "EIO"):
            producer.send(put(2, 2))
            assert rejected(producer) == (2, "store")
            producer.send(put(3, 3))
            assert rejected(producer) == (3, "store")
            assert "failed" in str(scene.stat()["store"])
            with RawConsumer(scene) as consumer:
                assert consumer.next()[3] == [1]
        scene.until(store="ok")
        producer.send(put(4, 4))
        assert producer.expect(Kind.CONFIRM)[0] == 4
    assert [path.name for path in Path(scene.state, FOLDER).glob("*.db")] == ["queue-0002.db"]
    scene.kill(scene.broker)
    scene.start_broker()
    assert scene.stat()["store"] == "ok"
    with RawConsumer(scene) as consumer:
        assert [consumer.next()[3] for _ in range(2)] == [[1], [4]]


def test_a_second_broker_leaves_the_queue_alone(make: Make) -> None:
    """What another process keeps is not touched: puts are refused, and it is said why."""
    scene = make(durable="full")
    scene.kill(scene.broker)

    def keep() -> None:
        store = SqliteStore(f"{scene.state}/{FOLDER}")
        scene.report(1)
        signal.pause()
        store.close()

    keeper = scene.fork(keep)
    scene.reports.take(1)
    scene.start_broker()
    assert "another process" in str(scene.stat()["store"])
    with scene.raw(Hello("producer", "q", "me")) as producer:
        producer.send(put(1, 1))
        assert rejected(producer) == (1, "store")
        scene.kill(keeper)
        scene.until(store="ok")
        producer.send(put(2, 2))
        producer.expect(Kind.CONFIRM)


def test_a_damaged_message_is_a_dead_letter(make: Make) -> None:
    """A row that is not what was written: dead letter "corrupt"; the others are delivered."""
    scene = make(durable="full")
    with scene.raw(Hello("producer", "q", "me")) as producer:
        for number in (1, 2, 3):
            producer.send(put(number, number))
            producer.expect(Kind.CONFIRM)
    scene.kill(scene.broker)
    connection = sqlite3.connect(f"{scene.state}/{FOLDER}/queue-0001.db")
    connection.execute("UPDATE chunk SET body = x'ff' WHERE id = 2")
    connection.commit()
    connection.close()
    scene.start_broker()
    assert scene.stat()["damage"] == 1
    assert scene.stat()["store"] == "ok"
    (letter,) = command(scene, "dead_list")["letters"]
    assert (letter["reason"], letter["whole"]) == ("corrupt", False)
    with RawConsumer(scene) as consumer:
        assert [consumer.next()[3] for _ in range(2)] == [[1], [3]]


def test_files_deleted_under_a_broker_lose_nothing(make: Make) -> None:
    """Whoever deletes the files of an open queue is noticed by the next put; nothing is lost."""
    scene = make(durable="full")
    with scene.raw(Hello("producer", "q", "me")) as producer:
        producer.send(put(1, 1))
        producer.expect(Kind.CONFIRM)
        for path in Path(scene.state, FOLDER).glob("queue-*"):
            path.unlink()
        producer.send(put(2, 2))
        producer.expect(Kind.CONFIRM)
    assert scene.stat()["damage"] == 1
    scene.kill(scene.broker)
    scene.start_broker()
    with RawConsumer(scene) as consumer:
        assert [consumer.next()[3] for _ in range(2)] == [[1], [2]]
