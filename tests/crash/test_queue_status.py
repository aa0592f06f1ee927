"""What the state of an app says of its queues, whatever becomes of the broker."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.crash.app_harness import App, eventually


def run(directory: Path, *numbers: int) -> App:
    """Run an app whose queue is fed these numbers."""
    environment = {"FED": str(directory / "fed")}
    return App("poison:tree", directory, "--", *map(str, numbers), env=environment)


def queue_of(app: App) -> dict[str, Any]:
    """Return what the snapshot says of the queue."""
    queues: list[dict[str, Any]] = [dict(one) for one in app.snapshot().queues]
    return queues[0] if queues else {}


def broker_of(app: App) -> int:
    """Return the process of the broker."""
    found = [one.pid for one in app.snapshot().services if one.path.startswith("runtime/broker")]
    assert found[0] is not None
    return found[0]


def test_the_snapshot_shows_the_queues(tmp_path: Path) -> None:
    """With what people and health look at."""
    with run(tmp_path, 1, 2, 3) as app:
        app.up()
        eventually(lambda: queue_of(app)["settled_total"] == 3)
        queue = queue_of(app)
        assert (queue["name"], queue["depth"], queue["capacity"]) == ("numbers", 0, 100)
        assert (queue["oldest_age_s"], queue["blocked"], queue["dead"]) == (0.0, 0, 0)
        assert queue["consumers"] == 2
        assert app.stop() == 0


def test_a_broker_that_hangs_does_not_hold_the_state_up(tmp_path: Path) -> None:
    """What it said last is shown, at once from the second time on; then what it says again."""
    with run(tmp_path, 1, 2) as app:
        app.up()
        eventually(lambda: queue_of(app)["settled_total"] == 2)
        broker = broker_of(app)
        os.kill(broker, signal.SIGSTOP)
        try:
            assert queue_of(app)["settled_total"] == 2
            began = time.monotonic()
            for _ in range(10):
                assert queue_of(app)["settled_total"] == 2
            assert time.monotonic() - began < 2.0
        finally:
            os.kill(broker, signal.SIGCONT)
        assert app.stop() == 0


def test_a_broker_that_is_killed_shows_again(tmp_path: Path) -> None:
    """Its successor counts anew; the workers have found it."""
    with run(tmp_path, 1, 2) as app:
        app.up()
        eventually(lambda: queue_of(app)["settled_total"] == 2)
        os.kill(broker_of(app), signal.SIGKILL)
        eventually(lambda: queue_of(app).get("settled_total") == 0, "the successor")
        eventually(lambda: queue_of(app)["consumers"] == 2, "the consumers")
        assert app.stop() == 0
