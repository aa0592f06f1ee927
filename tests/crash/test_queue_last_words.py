"""What somebody said before he ended counts, however his end is found out."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_workers import Start, crews, letters
from workers import Consumer, QueueWriter

#: A message of which the broker's end of a connection holds a few dozen, and no ring takes it.
LARGE = b"x" * 16_000
#: More of them.
MANY = 200


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a broker, and what starts workers around it."""
    yield from crews(tmp_path)


def test_what_was_given_back_is_heard_of_who_left_more_unread(start: Start) -> None:
    """The broker finds out by what it cannot send, and takes what was said before first.

    The cursor relies on it: it has gone on behind the message that was given back.
    """
    scene, crew = start(serializer="bytes", max_attempts=3)
    broker = scene.broker

    class Gone(Consumer):
        prefetch = 2 * MANY
        seen = 0

        def connect(self) -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            super().connect()

        def handle(self, _message: bytes) -> None:
            self.seen += 1
            if self.seen == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            scene.report(self.seen)
            signal.sigwait({signal.SIGUSR1})
            os.kill(broker, signal.SIGSTOP)
            self.reject("not this one")

    running = crew.start(Gone)
    with QueueWriter("q", scene.path) as writer:
        writer.put(LARGE)
        scene.reports.take(1)
        for number in range(MANY):
            writer.put(LARGE, headers={"n": str(number)})  # alone: or it would go by the ring
        writer.flush()
    scene.until(leased=MANY + 1)
    os.kill(running.pid, signal.SIGUSR1)
    try:
        assert scene.ended(running.pid) == -signal.SIGKILL
    finally:
        os.kill(broker, signal.SIGCONT)
    scene.until(consumers=0, depth=MANY, dead=1, settled_total=0)
    assert [one["reason"] for one in letters(scene)] == ["not this one"]
