"""What is left of messages when everything around a queue is SIGKILLed at random.

`python -m tests.crash.queue_killer` does the same 50 000 times.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.crash.queue_history import Recorder, What, judge
from tests.crash.queue_killer import Fire


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("kills", "queue"),
    [(1100, {}), (800, {"durable": "process"}), (150, {"durable": "full"})],
    ids=["memory", "process", "full"],
)
def test_nothing_confirmed_is_lost(tmp_path: Path, kills: int, queue: dict[str, Any]) -> None:
    """What was confirmed was handled; nothing is invented; what comes twice says so; none wedge.

    Consumers and producers are killed, and the broker too if the queue is durable.
    """
    fire = Fire(tmp_path, kills, **queue)
    try:
        fire.kill(kills)
        verdict = fire.verdict()
        # A broker that was killed has counted anew.
        assert queue or fire.scene.stat()["redelivered_total"] > 0
        assert fire.scene.stat()["dead"] > 0
    finally:
        fire.close()
    assert verdict.clean, verdict
    assert fire.kills == kills


def test_the_judge_sees_what_is_wrong(tmp_path: Path) -> None:
    """A message that was lost, invented or repeated unsaid is found in a history."""
    path = str(tmp_path / "history")
    recorder = Recorder(path)
    recorder.record(What.PUTTING, 1, 3)
    recorder.record(What.CONFIRMED, 1, 3)
    for number, attempt in [(0, 1), (1, 2), (1, 1), (1, 2), (0, 2), (0, 1), (7, 1)]:
        recorder.record(What.BEGUN, 1, number, attempt)
        recorder.record(What.HANDLED, 1, number)
    recorder.close()
    verdict = judge(path, dead=set())
    assert (verdict.lost, verdict.invented, verdict.repeated) == ([(1, 2)], [(1, 7)], [(1, 0)])
    assert not judge(path, dead={(1, 2)}).lost
