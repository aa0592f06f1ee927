"""What the loss of power, or the end of the process, leaves of a durable queue: all of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disk import scratch
from tests.crash.queue_power import Crashes

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="calls are recorded by strace")


@pytest.fixture
def where() -> Iterator[Path]:
    """Give a folder in memory."""
    with scratch() as folder:
        yield folder


def test_power_may_fail_at_any_call(where: Path) -> None:
    """After a loss of power at any system call, all that was answered for is there."""
    crashes = Crashes(where, "full", groups=14, seed=3, power=True)
    assert crashes.run(states=1) == []
    assert crashes.counts["points"] > 150


def test_a_process_may_end_at_any_call(where: Path) -> None:
    """Without fsync, all is there after the end of the process at any system call."""
    crashes = Crashes(where, "process", groups=30, seed=4, power=False)
    assert crashes.run(states=0) == []
    assert crashes.counts["points"] > 150


def test_the_loss_of_power_is_no_game(where: Path) -> None:
    """The same losses of power do take something from a queue that is not synced."""
    crashes = Crashes(where, "process", groups=5, seed=5, power=True)
    assert crashes.run(states=1, every=5) != []
