"""Who is silent in the middle of a frame is closed, and nothing is lost by it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_harness import Make, Raw, Scene, scenes
from tests.crash.raw_consumer import RawConsumer, put
from workers.queues.broker import unfinished
from workers.queues.client import door
from workers.queues.client.writer import QueueWriter
from workers.queues.frames import PAIR, Hello, Kind, frame


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make scenes whose brokers wait for half a second, not for half a minute."""
    monkeypatch.setattr(unfinished, "SILENCE", 0.5)
    monkeypatch.setattr(door, "SEND_BUFFER", 1 << 16)  # as where net.core.wmem_max is small
    yield from scenes(tmp_path)


def producer(scene: Scene, name: str) -> Raw:
    """Connect a producer that sends what it is told to."""
    return scene.raw(Hello("producer", "q", name))


def a_silence(scene: Scene) -> None:
    """Let as long pass as half a frame may take, for all who are silent already."""
    with producer(scene, os.urandom(4).hex()) as other:
        other.send(put(1, 1)[:-1])
        assert other.closed() == ""  # without a word: it would be taken for a refusal


def stopped(pid: int) -> None:
    """Wait until a process is stopped."""
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])


def test_who_does_not_go_on_with_a_frame_is_closed(make: Make) -> None:
    """What was whole before it counts; who is silent between frames may be so for ever."""
    scene = make()
    with producer(scene, "quiet") as quiet, producer(scene, "half") as half:
        half.send(put(1, "whole") + put(2, "half")[:-1])
        assert half.expect(Kind.CONFIRM)[0] == 1
        assert half.closed() == ""
        assert scene.until(half_frames_total=1)["depth"] == 1
        quiet.send(put(1, "later"))
        assert quiet.expect(Kind.CONFIRM)[0] == 1


def test_who_is_held_back_in_the_middle_of_a_frame_is_not_silent(make: Make) -> None:
    """It is not read from: what it has sent of the next one is looked at when there is room."""
    scene = make(capacity=1)
    with producer(scene, "held") as held:
        third = put(3, 3)
        held.send(put(1, 1) + put(2, 2) + third[:-1])
        scene.until(blocked=1)
        a_silence(scene)
        held.send(third[-1:])
        consumer = scene.consumer()
        assert scene.reports.take(3) == [[number, 1, consumer] for number in (1, 2, 3)]
    scene.until(half_frames_total=1)


def test_half_an_acknowledgement_may_wait(make: Make) -> None:
    """For as long as its consumer works on the next message: it is well, and keeps what it has."""
    scene = make()
    with producer(scene, "me") as sender, RawConsumer(scene) as consumer:
        sender.send(put(1, "a"))
        chunk, *_ = consumer.next()
        said = frame(Kind.ACK, PAIR.pack(chunk, 1), 1)
        consumer.raw.send(said[:-1])
        a_silence(scene)
        assert scene.stat()["leased"] == 1
        consumer.raw.send(said[-1:])
        scene.until(depth=0, settled_total=1, redelivered_total=0)


def test_a_producer_that_was_stopped_in_the_middle_of_a_message_loses_nothing(make: Make) -> None:
    """It is closed meanwhile; going on it connects again, and puts each message once."""
    scene = make()
    large = b"x" * 300_000  # too large for the ring

    def work() -> None:
        writer = QueueWriter("q", scene.path)
        scene.report(0)
        os.kill(os.getpid(), signal.SIGSTOP)  # until the broker takes nothing
        writer.put([0, b""], 10.0)
        writer.put([1, large], 10.0)  # of which the kernel takes a part
        scene.report(1)
        os.kill(os.getpid(), signal.SIGSTOP)
        writer.put([2, large], 10.0)
        writer.close()

    pid = scene.fork(work)
    scene.reports.take(1)
    stopped(pid)
    os.kill(scene.broker, signal.SIGSTOP)
    stopped(scene.broker)
    os.kill(pid, signal.SIGCONT)
    scene.reports.take(1)
    stopped(pid)
    os.kill(scene.broker, signal.SIGCONT)
    scene.until(half_frames_total=1)
    os.kill(pid, signal.SIGCONT)
    assert scene.ended(pid) == 0
    scene.until(accepted_total=3, depth=3)
    with RawConsumer(scene) as consumer:
        found = [consumer.next() for _ in range(3)]
    assert [message[0] for *_, messages in found for message in messages] == [0, 1, 2]
    assert [attempt for _, attempt, *_ in found] == [1, 1, 1]
