"""SIGKILL of root at system calls of its start, its work and its end: some of them."""

import shutil

import pytest

from tests.crash.disk import scratch
from tests.crash.root_sweep import JOBS, RootSweep

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="kills are made by strace")

#: Kills: all calls are `python -m tests.crash.root_sweep --every 1`.
KILLS = 9


def test_wherever_root_is_killed_nothing_is_left_and_nothing_lost() -> None:
    """The next run finds a clean place, and what was confirmed; nobody has two copies."""
    with scratch() as where:
        sweep = RootSweep(where)
        calls = sweep.calls()
        assert len(calls) > 500
        step = len(calls) // KILLS
        assert list(sweep.all(calls[step // 2 :: step], JOBS)) == []
    assert sweep.counts["killed"] >= KILLS - 2
    assert sweep.counts["numbers confirmed before the kill"] > 0
