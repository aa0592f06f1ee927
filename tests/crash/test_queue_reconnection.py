"""Who waits for a broker that is replaced meanwhile goes on with the next one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.queue_workers import Start, crews
from workers import AsyncQueueWriter, Consumer, QueueWriter

PATIENCE = 10.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a broker, and what starts workers around it."""
    yield from crews(tmp_path)


@pytest.mark.parametrize("bystander", [False, True])
def test_all_tasks_that_wait_go_on_with_the_next_broker(start: Start, bystander: bool) -> None:
    """Though the next connection has the number of the last one, and whoever sees its end first."""
    scene, _ = start(capacity=1)

    async def work() -> None:
        plain = QueueWriter("q", scene.path)
        writer = AsyncQueueWriter(plain)
        await writer.put(0, confirm=True)
        waiting = [
            asyncio.ensure_future(writer.put(number, confirm=True)) for number in range(1, 4)
        ]
        while not scene.stat()["blocked"]:
            await asyncio.sleep(0.001)
        scene.kill(scene.broker)
        scene.start_broker()  # while this loop stands still
        if bystander:
            plain.has_room()
        scene.consumer()
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)
        plain.close()

    asyncio.run(work())


def test_a_call_is_made_to_the_next_broker(start: Start) -> None:
    """Who finds only now that the last one is gone: nobody can have the call yet."""
    scene, crew = start()

    class Answers(Consumer):
        def handle(self, message: int) -> int:
            return message + 1

    crew.start(Answers)
    with QueueWriter("q", scene.path) as writer:
        assert writer.call(1, timeout=PATIENCE) == 2
        scene.kill(scene.broker)
        scene.start_broker()
        assert writer.call(2, timeout=PATIENCE) == 3
