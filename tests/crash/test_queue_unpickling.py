"""Messages that are pickled: what unpickling one does to its process is charged to that message."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.queue_workers import Start, crews, letters, put
from workers import Batch, Consumer, QueueWriter

ATTEMPTS = 3


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a broker, and what starts workers around it."""
    yield from crews(tmp_path)


class Mine:
    """Kills whoever unpickles it."""

    def __getstate__(self) -> int:
        return 1

    def __setstate__(self, _state: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Torn:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def shapes(scene: Any) -> dict[str, type[Consumer]]:
    """Return a consumer of each kind that reports the numbers it gets, and at which attempt."""

    class Serial(Consumer):
        def handle(self, message: Any) -> None:
            scene.report(message, self.attempt)

    class Batches(Consumer):
        def handle_many(self, batch: Batch[Any]) -> None:
            for message, attempt in zip(batch, batch.attempts, strict=True):
                scene.report(message, attempt)
            if 5 in batch:
                batch.reject(batch.index(5), "five")

    class Threads(Consumer):
        threads = 2

        def handle(self, message: Any) -> None:
            scene.report(message, self.attempt)

    class Tasks(Consumer):
        concurrency = 2

        async def handle(self, message: Any) -> None:
            scene.report(message, self.attempt)

    return {one.__name__: one for one in (Serial, Batches, Threads, Tasks)}


@pytest.mark.parametrize("shape", ["Serial", "Batches", "Threads", "Tasks"])
def test_what_kills_while_it_is_unpickled_is_a_dead_letter(start: Start, shape: str) -> None:
    """After its attempts; what lies around it in the same chunk is done, and not blamed."""
    scene, crew = start(serializer="pickle", max_attempts=ATTEMPTS)
    with QueueWriter("q", scene.path) as writer:
        writer.put_many([1, 2, Mine(), 3, 4])
    consumer = shapes(scene)[shape]
    for _ in range(ATTEMPTS):
        assert scene.ended(crew.start(consumer).pid) == -signal.SIGKILL
    crew.start(consumer)
    seen: set[int] = set()
    while len(seen) < 4:  # one that was handled as its process was killed is handled again
        seen |= {number for number, _ in scene.reports.take(1)}
    assert seen == {1, 2, 3, 4}
    scene.until(depth=0, dead=1, settled_total=4)
    (letter,) = letters(scene)
    assert (letter["reason"], letter["attempts"]) == ("crashed", ATTEMPTS)


@pytest.mark.parametrize("ack", ["late", "early"])
@pytest.mark.parametrize("shape", ["Serial", "Threads", "Tasks"])
def test_what_cannot_be_unpickled_is_a_dead_letter(start: Start, shape: str, ack: str) -> None:
    """At once, and nothing else is blamed, nor ends."""
    scene, crew = start(serializer="pickle", ack=ack)
    with QueueWriter("q", scene.path) as writer:
        writer.put_many([1, Torn(), 2, Torn(), 3])
    crew.start(shapes(scene)[shape])
    assert sorted(scene.reports.take(3)) == [[1, 1], [2, 1], [3, 1]]
    scene.until(depth=0, dead=2, settled_total=3)
    assert {(one["reason"], one["attempts"]) for one in letters(scene)} == {("undecodable", 1)}


def test_in_a_batch_it_is_left_out(start: Start) -> None:
    """What the handler says of the others is still said of them."""
    scene, crew = start(serializer="pickle")
    with QueueWriter("q", scene.path) as writer:
        writer.put_many([Torn(), 4, Torn(), 5, 6])
    crew.start(shapes(scene)["Batches"])
    assert scene.reports.take(3) == [[4, 1], [5, 1], [6, 1]]
    scene.until(depth=0, dead=3, settled_total=2)
    reasons = [one["reason"] for one in letters(scene)]
    assert sorted(reasons) == ["five", "undecodable", "undecodable"]


def test_a_call_with_one_is_answered(start: Start) -> None:
    """Its caller is told why, and nothing ends."""
    scene, crew = start(serializer="pickle")
    pid = crew.start(shapes(scene)["Serial"]).pid
    with (
        QueueWriter("q", scene.path) as writer,
        pytest.raises(Exception, match="not decodable: invalid literal"),
    ):
        writer.call(Torn(), timeout=10)
    assert scene.alive(pid)
    put(scene, 1)
    assert scene.reports.take(1) == [[1, 1]]
