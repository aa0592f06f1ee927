"""What the pump counts is what was logged: lines, bytes and losses, by child; and health tells."""

import os
import time
from pathlib import Path

from supervisor.doctor.accumulators import accumulators
from supervisor.logs.figures import FIGURES, Figures
from supervisor.observe import health
from tests.crash.app_harness import App, eventually
from tests.crash.apps.wordy import LINES


def test_every_line_is_counted_as_kept_or_as_dropped(tmp_path: Path) -> None:
    """A hundred lines of one child; of a flood over the rate, what is kept and what is lost."""
    options = ("--logs", str(tmp_path / "logs"), "--log-max-use", "8MiB", "--log-rate", "1000")
    with App("wordy:tree", tmp_path, *options) as app:
        app.up()
        directory = os.path.dirname(app.socket)

        def complete() -> Figures | None:
            found = FIGURES.read(directory)
            flood = found.children.get("wordy/flood") if found else None
            return found if flood and flood.lines + flood.dropped == LINES else None

        found = eventually(complete, "all lines are accounted for", 30.0)
        assert found is not None
        counted, flood = found.children["wordy/counted"], found.children["wordy/flood"]
        assert (counted.lines, counted.bytes, counted.dropped) == (100, 1000, 0)
        assert flood.dropped > 0
        assert flood.bytes == flood.lines * len("a line of a flood\n")
        assert found.budget == 8 << 20
        assert found.used is not None
        assert 0 < found.used <= found.budget
        document = health.health(app.snapshot(), time.time(), {}, None, found)
        logs = document["supervisor"]["logs"]
        assert logs["children"]["wordy/flood"]["dropped_lines"] == flood.dropped
        assert logs["budget_bytes"] == 8 << 20
        assert document["checks"]["logs:dropped"][0]["status"] == "warn"
        assert "wordy/flood" in document["checks"]["logs:dropped"][0]["output"]
        rows = {one.name: one for one in accumulators(app.snapshot(), directory)}
        assert rows["log files"].limit == 8 << 20
