"""Restarts without spares: the successor is forked while the end is still reported."""

import os
import signal
from pathlib import Path

from tests.crash.app_harness import eventually
from tests.crash.running_app import copies, family, run_tree

ROUNDS = 20


def test_a_slot_that_is_killed_again_and_again_has_one_process(tmp_path: Path) -> None:
    """Never two at a time, and in the end as many processes as at the start: none is left over."""
    with run_tree("flat:hundred", tmp_path, "--spares", "0") as app:
        app.up()
        count = len(family(app))
        for _ in range(ROUNDS):
            worker = app.ready("hundred/w.0")
            assert worker.pid is not None
            generation = worker.generation
            os.kill(worker.pid, signal.SIGKILL)
            app.wait_worker(
                "hundred/w.0", lambda w, last=generation: w.generation > last and w.ready_at
            )
        assert app.worker("hundred/w.0").restarts == ROUNDS
        eventually(lambda: len(family(app)) == count, "as many processes as before")
        assert copies(app) == []
        assert app.stop() == 0


def test_what_nobody_takes_ends(tmp_path: Path) -> None:
    """Everybody is killed at once: all slots are filled again, and nothing else is left."""
    with run_tree("flat:hundred", tmp_path, "--spares", "0") as app:
        app.up()
        workers = app.snapshot().tree.children[0].workers
        count = len(family(app))
        for worker in workers:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
        eventually(
            lambda: all(
                w.state == "ready" and w.restarts == 1
                for w in app.snapshot().tree.children[0].workers
            ),
            "all are back",
        )
        eventually(lambda: len(family(app)) == count, "as many processes as before")
        assert copies(app) == []
        assert app.stop() == 0
