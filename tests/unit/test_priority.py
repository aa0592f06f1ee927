"""What a process gives up of the processor."""

import os
from pathlib import Path

import pytest

from supervisor.priority import LAST, give_way


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="the kernel knows none")
def test_who_gives_way_does_so_in_a_session_of_its_own() -> None:
    """Niceness counts within a session only: that is left, and what it would get is as little."""
    pid = os.fork()
    if pid == 0:
        give_way()
        group = Path("/proc/self/autogroup").read_text()
        fits = os.getsid(0) == os.getpid() and os.getpriority(os.PRIO_PROCESS, 0) == LAST
        os._exit(0 if fits and group.endswith(f"nice {LAST}\n") else 1)
    assert os.waitpid(pid, 0)[1] == 0
