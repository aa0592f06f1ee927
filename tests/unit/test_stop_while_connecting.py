"""Workers that are asked to stop while they connect to their queue end in order."""

from types import SimpleNamespace
from typing import Any

import pytest

from workers import Consumer, Producer
from workers.queues.errors import Interrupted


class Unreachable:
    """Its queue is not there."""

    def connect(self) -> None:
        """Wait for it in vain."""
        raise Interrupted("asked to stop while waiting for queue 'orders'")


class Taker(Unreachable, Consumer):
    """Takes."""


class Giver(Unreachable, Producer):
    """Gives."""


@pytest.mark.parametrize("kind", [Taker, Giver])
def test_a_stop_while_the_queue_is_not_there_is_no_crash(kind: type[Any]) -> None:
    """It returns: no traceback in the log, and an end that is normal."""
    kind().supervised(SimpleNamespace(interrupted=True, ready=lambda: None))


def test_a_consumer_hides_no_interruption_that_nobody_has_asked_for() -> None:
    """Then it is a fault, and is told."""
    with pytest.raises(Interrupted):
        Taker().supervised(SimpleNamespace(interrupted=False))  # type: ignore[arg-type]
