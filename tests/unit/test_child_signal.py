"""SIGCHLD as something to read."""

import os
import select
import signal
from collections.abc import Iterator

import pytest

from supervisor.process.child_signal import ChildSignal


@pytest.fixture
def heard() -> Iterator[ChildSignal]:
    """A descriptor for which the signal is held; afterwards all is as it was."""
    handler = signal.getsignal(signal.SIGCHLD)
    found = ChildSignal()
    found.hold()
    yield found
    found.release()
    os.close(found.fileno())
    signal.signal(signal.SIGCHLD, handler)


def is_readable(heard: ChildSignal, seconds: float) -> bool:
    """Whether it becomes readable within that time."""
    return bool(select.select([heard], [], [], seconds)[0])


def test_many_ends_are_one_event_and_none_is_lost(heard: ChildSignal) -> None:
    """Children that end together make it readable once; one that ends after that, again."""
    assert not is_readable(heard, 0.0)
    for count in (3, 1):
        pids = [os.fork() or os._exit(0) for _ in range(count)]
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert is_readable(heard, 5.0)
        heard.clear()
        assert not is_readable(heard, 0.0)
        for pid in pids:
            os.waitpid(pid, 0)
    heard.clear()  # harmless when there is nothing


def test_it_is_heard_where_it_had_been_ignored(heard: ChildSignal) -> None:
    """Whoever ignored the signal before has not made the descriptor deaf."""
    heard.release()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    heard.hold()
    pid = os.fork() or os._exit(7)
    assert is_readable(heard, 5.0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
