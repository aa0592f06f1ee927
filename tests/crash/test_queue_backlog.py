"""What waited in a durable queue while its broker was restarted is handled as ever."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_workers import Start, crews
from workers import Batch, Consumer
from workers.queues.client.writer import QueueWriter

MESSAGES = 1000


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a scene and a crew, and end what is in them."""
    yield from crews(tmp_path)


def test_a_backlog_is_handled_in_batches(start: Start) -> None:
    """Full ones, beside what was put since; each message says whether it may be a repeat."""
    scene, crew = start(durable="process", capacity=10 * MESSAGES)

    class Many(Consumer):
        batch = 100
        batch_wait = 5.0
        prefetch = 10 * MESSAGES

        def handle_many(self, batch: Batch[int]) -> None:
            attempts = [1 + (message < MESSAGES) for message in batch]
            scene.report(len(batch), batch.attempts == attempts)

    with QueueWriter("q", scene.path) as writer:
        writer.put_many(range(MESSAGES))
    scene.kill(scene.broker)
    scene.start_broker()
    with QueueWriter("q", scene.path) as writer:
        writer.put_many(range(MESSAGES, 2 * MESSAGES))
    crew.start(Many)
    assert scene.reports.take(2 * MESSAGES // Many.batch) == [[100, 1]] * (2 * MESSAGES // 100)
    scene.until(depth=0, settled_total=2 * MESSAGES)
