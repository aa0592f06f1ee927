"""What handlers return: a result, or what was made, is never run, and has handled nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.queue_workers import Start, crews, letters, put
from workers import CallFailed, Consumer, QueueWriter

WHY = "TypeError: the handler returned a coroutine, which nobody runs"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a broker, and what starts workers around it."""
    yield from crews(tmp_path)


async def work(message: int) -> None:
    """Never runs."""
    raise AssertionError(message)


class Forgetful(Consumer):
    """Forgets to await, for every second message."""

    on_error = "retry"

    def handle(self, message: int) -> Any:
        """Handle it, or not."""
        return work(message) if message % 2 else message


class Threads(Forgetful):
    """With threads."""

    threads = 2


class Tasks(Forgetful):
    """As a task that returns another one."""

    async def handle(self, message: int) -> Any:
        """Handle it, or not."""
        return work(message) if message % 2 else message


class Batches(Consumer):
    """With batches; a batch that fails comes again one by one."""

    on_error = "retry"

    def handle_many(self, batch: Any) -> Any:
        """Handle them, or not."""
        return work(1) if 1 in batch else None


@pytest.mark.parametrize("consumer", [Forgetful, Threads, Tasks, Batches])
def test_what_nobody_runs_has_handled_no_message(start: Start, consumer: type[Consumer]) -> None:
    """It is a failure of that message, with what was returned and what to do; others are done."""
    scene, crew = start(max_attempts=2)
    put(scene, 1, 2)
    running = crew.start(consumer)
    scene.until(depth=0, dead=1, settled_total=1)
    (letter,) = letters(scene)
    assert (letter["reason"], letter["attempts"]) == ("failed", 2)
    assert letter["error"].startswith(WHY)
    assert "async def" in letter["error"]
    assert scene.alive(running.pid)


@pytest.mark.parametrize("consumer", [Forgetful, Threads, Tasks])
def test_its_caller_is_told(start: Start, consumer: type[Consumer]) -> None:
    """A call that was answered by a coroutine has failed; one by a value has that."""
    scene, crew = start()
    crew.start(consumer)
    with QueueWriter("q", scene.path) as writer:
        assert writer.call(2, timeout=10) == 2
        with pytest.raises(CallFailed, match="which nobody runs"):
            writer.call(1, timeout=10)


def test_generators_are_none_either(start: Start) -> None:
    """Made by an expression, which no declaration can see."""
    scene, crew = start(max_attempts=1)

    class Lazy(Consumer):
        on_error = "retry"

        def handle(self, message: int) -> Any:
            return (print(one) for one in [message])

    put(scene, 1)
    crew.start(Lazy)
    scene.until(depth=0, dead=1)
    assert "returned a generator" in letters(scene)[0]["error"]
