"""What an operator has said of a queue holds for the next broker too."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.broker import ask_queues, queue_statistics
from supervisor.control.messages import QueueCommand, QueueVerb
from tests.crash.app_harness import App, eventually
from tests.crash.queue_harness import Make, scenes
from tests.crash.queue_workers import managed
from workers.queues.client.writer import QueueWriter
from workers.queues.errors import QueueClosed, QueueTimeout
from workers.queues.frames import Command


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make scenes, and end what is in them."""
    yield from scenes(tmp_path)


@pytest.mark.parametrize("durable", ["", "full"])
def test_a_paused_queue_is_paused_under_the_next_broker(make: Make, durable: str) -> None:
    """It takes in and delivers nothing until it is resumed, however often its broker is killed."""
    scene = make(durable=durable)
    managed(scene, Command("pause", "q"))
    for broker in range(2):
        scene.kill(scene.broker)
        scene.start_broker()
        found = scene.stat()
        assert (found["paused"], found["closed"]) == (True, False), broker
    scene.consumer()
    with QueueWriter("q", scene.path) as writer:
        writer.put(1)
    scene.until(consumers=1, depth=1, leased=0)
    managed(scene, Command("resume", "q"))
    assert [line[0] for line in scene.reports.take(1)] == [1]
    scene.kill(scene.broker)
    scene.start_broker()
    assert not scene.stat()["paused"]


def test_a_drained_queue_is_closed_under_the_next_broker(make: Make) -> None:
    """Who puts is refused, or held back, as was said; until the queue is opened again."""
    scene = make(durable="process")
    for word, error in (("drain", QueueClosed), ("hold", QueueTimeout)):
        managed(scene, Command(word, "q"))
        scene.kill(scene.broker)
        scene.start_broker()
        assert scene.stat()["closed"]
        writer = QueueWriter("q", scene.path)
        with pytest.raises(error):
            writer.put(1, 0.3, confirm=True)
        writer.close_within(0.0)
        managed(scene, Command("reopen", "q"))
    scene.kill(scene.broker)
    scene.start_broker()
    assert not scene.stat()["closed"]


def test_root_keeps_it_for_the_brokers_of_a_run(tmp_path: Path) -> None:
    """A broker that root has restarted knows it; an app that is started anew begins anew."""

    def queue(app: App) -> dict[str, Any]:
        return queue_statistics(app.socket, 10.0)[0]

    def broker(app: App) -> int | None:
        return next(one.pid for one in app.snapshot().services if "broker" in one.path)

    environment = {"FED": str(tmp_path / "fed")}
    for run in range(2):
        with App("poison:tree", tmp_path, env=environment) as app:
            app.up()
            assert not queue(app)["paused"], run
            said: tuple[QueueVerb, ...] = ("pause", "hold")
            for word in said:
                ask_queues(app.socket, QueueCommand(word, "numbers"), 10.0)
            before = broker(app)
            assert before is not None
            os.kill(before, signal.SIGKILL)
            eventually(lambda: broker(app) not in (None, before), "the next broker")  # noqa: B023
            assert (queue(app)["paused"], queue(app)["closed"]) == (True, True)
            assert app.stop() == 0
