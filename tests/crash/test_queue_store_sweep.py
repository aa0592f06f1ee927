"""A durable queue whose process is killed, or whose device fails, at some system calls."""

import shutil
from pathlib import Path

import pytest

from tests.crash.queue_sweep import FAULTS, Sweep

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="faults are made by strace")


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_at_system_calls(tmp_path: Path, kind: str) -> None:
    """After a kill or an error at any call, all that was answered for is there."""
    sweep = Sweep(tmp_path, "full", groups=8, seed=6)
    calls = sweep.calls()
    assert calls > 60
    step = calls // 5
    points = range(step - len(kind) % step, calls, step)
    assert [wrong for number in points if (wrong := sweep.fault(kind, number))] == []
    assert sweep.counts["groups that were kept"] > 0
