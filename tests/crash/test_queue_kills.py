"""What is left of messages when everything around a queue is SIGKILLed at random.

`python -m tests.crash.queue_killer` does the same 50 000 times.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.queue_history import Recorder, What, judge

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("kills", "durable"), [(1100, ""), (800, "process"), (150, "full")],
    ids=["memory", "process", "full"],
)  # fmt: skip
def test_nothing_confirmed_is_lost(kills: int, durable: str) -> None:
    """What was confirmed was handled; nothing is invented; what comes twice says so; none wedge.

    Consumers and producers are killed, and the broker too if the queue is durable. By a process of
    its own: a fork copies what its parent has, and a test runner has more the longer it runs.
    """
    command = [sys.executable, "-m", "tests.crash.queue_killer"]
    run = subprocess.run(
        [*command, "--kills", str(kills), "--durable", durable, "--seed", str(kills)],
        cwd=ROOT, stdout=subprocess.PIPE, timeout=220, check=False,
    )  # fmt: skip
    assert run.stdout, run.returncode
    (found,) = map(json.loads, run.stdout.splitlines())
    assert (found["lost"], found["invented"], found["repeated"]) == ([], [], [])
    assert run.returncode == 0
    assert found["kills"] == kills
    # A broker that was killed has counted anew.
    assert durable or found["redelivered"] > 0
    assert found["dead"] > 0


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
