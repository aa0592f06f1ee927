"""A nudge: root tells its own processes that something has changed, now and then."""

import socket
from collections.abc import Iterator

import pytest

from supervisor.channel import Channel
from supervisor.link import Context, Nudge, StopRequest, ToWorker, WorkerLink


@pytest.fixture
def ends() -> Iterator[tuple[Channel[ToWorker], WorkerLink]]:
    """Root's end of a link, and that of one of its own."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield Channel(ours, ToWorker), WorkerLink(theirs, Context("runtime/arbiter", 1))


def test_it_ends_a_wait_and_is_told_once(ends: tuple[Channel[ToWorker], WorkerLink]) -> None:
    """However many there were; it is no request to stop."""
    root, link = ends
    root.send(Nudge())
    root.send(Nudge())
    assert not link.wait(float("inf"))
    assert link.nudged()
    assert not link.nudged()
    assert not link.wait(0.0)
    root.send(StopRequest(1.0))
    assert link.wait(float("inf"))
