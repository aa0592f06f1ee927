"""What waits for a peer that does not read, and for how long."""

import os
from pathlib import Path

import pytest

from supervisor.channel import Channel, pair
from supervisor.loop import Loop
from supervisor.process import messages
from supervisor.shell import outbox as outboxes
from supervisor.shell.outbox import Outbox


def open_files() -> int:
    """Count our descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_peer_that_never_reads_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound nothing waits any more, descriptors neither, and both ends see the end."""
    monkeypatch.setattr(outboxes, "MAX_WAITING", 10)
    ours, theirs = pair()
    ours.setblocking(False)
    channel = Channel[messages.Exited](ours, messages.Exited)
    loop = Loop()
    outbox = Outbox(loop, channel, lambda: None)
    sent = 0
    while not outbox.waiting:
        outbox.send(messages.Exited(sent, 0))
        sent += 1
    before = open_files()
    for serial in range(10):
        assert outbox.waiting
        outbox.send(messages.Exited(sent + serial, 0), os.open(os.devnull, os.O_RDONLY))
    assert (outbox.waiting, open_files()) == (0, before)
    assert channel.receive() is None
    peer = Channel[messages.Exited](theirs, messages.Exited)
    heard = []
    while received := peer.receive():
        heard.append(received[0].serial)
    assert heard == list(range(sent - 1))
    outbox.close()
    loop.close()
    ours.close()
    theirs.close()
