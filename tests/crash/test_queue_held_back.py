"""Producers that have to beat do so while they are held back: that is neither stuck nor stalled."""

import threading
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.crash.queue_workers import Start, crews
from workers import Producer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Make a scene and a crew for it."""
    yield from crews(tmp_path)


@pytest.mark.parametrize("way", ["put", "put_many", "flush"])
def test_who_beats_while_a_put_is_not_confirmed_puts_it_once(start: Start, way: str) -> None:
    """It was put when that wait began, however often it is interrupted to beat."""
    scene, crew = start(capacity=1)

    class Sure(Producer):
        def run(self) -> None:
            if way == "put_many":
                self.put_many(range(3), confirm=True)
                return
            for number in range(3):
                self.put(number, confirm=way == "put")
            self.flush()

    running = crew.start(Sure, heartbeat=0.1)
    assert len(list(islice(running.beats(), 20))) == 20  # the second one waits
    scene.consumer()
    assert scene.ended(running.pid) == 0
    scene.until(depth=0, accepted_total=3)


def test_who_waits_for_another_thread_that_puts_beats(start: Start) -> None:
    """One of them waits for room, and the main one for that one: both are held back."""
    scene, crew = start(capacity=1)

    class Two(Producer):
        def run(self) -> None:
            def puts() -> None:
                for number in range(5):
                    self.put(number, confirm=True)

            thread = threading.Thread(target=puts)
            thread.start()
            scene.until(blocked=1)
            self.put(5)
            thread.join()
            self.flush()

    running = crew.start(Two, heartbeat=0.1)
    idle = (beat for beat in running.beats() if beat.idle)
    assert len(list(islice(idle, 10))) == 10
    scene.consumer()
    assert scene.ended(running.pid) == 0
    scene.until(depth=0, accepted_total=6)


def test_a_coroutine_that_is_held_back_beats(start: Start) -> None:
    """While its put waits for room: its loop lives, and it has nothing else to do."""
    scene, crew = start(capacity=1)

    class Source(Producer):
        async def produce(self) -> AsyncIterator[int]:
            for number in range(2000):
                yield number

    running = crew.start(Source, heartbeat=0.1)
    idle = (beat for beat in running.beats() if beat.idle)
    assert len(list(islice(idle, 10))) == 10
    scene.consumer()
    assert len(scene.reports.take(2000)) == 2000
    assert scene.ended(running.pid) == 0


def test_how_long_producers_wait_is_measured(start: Start) -> None:
    """Each from when it is held back until it is not, or is gone; and who has waited longest."""
    scene, _ = start(capacity=1)
    assert (scene.stat()["blocked_seconds_total"], scene.stat()["blocked_longest_seconds"]) == (
        0,
        0,
    )

    def waited(seconds: float) -> tuple[float, float]:
        while (found := scene.stat())["blocked_longest_seconds"] < seconds:
            pass
        return found["blocked_longest_seconds"], found["blocked_seconds_total"]

    producers = [scene.producer(2), scene.producer(2)]
    scene.until(blocked=2)
    longest, total = waited(0.3)
    assert longest <= total <= 2 * longest
    scene.kill(producers.pop())  # it is not held back any more: what it has waited counts
    scene.until(blocked=1)
    longest, total = waited(0.1)
    later, more = waited(longest + 0.2)
    assert abs((more - total) - (later - longest)) < 0.01  # of one now, not of two
    scene.consumer()
    assert scene.ended(producers[0]) == 0
    over = scene.until(blocked=0, depth=0)
    assert over["blocked_longest_seconds"] == 0
    assert over["blocked_seconds_total"] >= more
    assert scene.stat()["blocked_seconds_total"] == over["blocked_seconds_total"]
