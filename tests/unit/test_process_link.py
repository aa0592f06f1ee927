"""The link: typed messages with descriptors, and what the worker's side makes of them."""

import math
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from supervisor import caches
from supervisor import link as links
from supervisor.channel import Channel, DescriptorsLost, pair
from supervisor.control.client import wait_for_end


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a link."""
    both = pair()
    yield both
    for end in both:
        end.close()


Ends = tuple[socket.socket, socket.socket]


def worker(end: socket.socket, heartbeat: float | None = None) -> links.WorkerLink:
    """Return a worker's side."""
    return links.WorkerLink(end, links.Context("test/worker.0", 1, heartbeat=heartbeat))


def supervisor(end: socket.socket) -> Channel[Any]:
    """Return a supervisor's side."""
    end.setblocking(False)
    return Channel(end, links.FromWorker)


def said(channel: Channel[Any]) -> list[msgspec.Struct]:
    """Return all messages that are there."""
    found = []
    while True:
        try:
            received = channel.receive()
        except BlockingIOError:
            return found
        assert received is not None
        found.append(received[0])


def test_messages_arrive_in_order_and_whole(ends: Ends) -> None:
    """What a worker says is what its supervisor hears."""
    link, channel = worker(ends[0]), supervisor(ends[1])
    link.ready()
    link.ignore("not here")
    link.failed("KeyError", "k", "a traceback")
    link.finished()
    ready, *others = said(channel)
    assert isinstance(ready, links.Ready)
    assert ready.screen > 1 << 20
    assert others == [
        links.Ignored("not here"),
        links.Failed("KeyError", "k", "a traceback"),
        links.Finished(),
    ]


def test_descriptors_are_received_close_on_exec(ends: Ends) -> None:
    """A received descriptor does not outlive an exec that nobody thought of."""
    read, write = os.pipe()
    Channel[Any](ends[0], links.ToWorker).send(links.Assign("x.0", 1), (read, write))
    received = Channel[Any](ends[1], links.ToWorker).receive()
    assert received is not None
    message, fds = received
    assert message == links.Assign("x.0", 1)
    assert [os.get_inheritable(fd) for fd in fds] == [False, False]
    for fd in (read, write, *fds):
        os.close(fd)


def test_nonsense_is_refused_and_its_descriptors_closed(ends: Ends) -> None:
    """A packet that is no message costs its receiver no descriptor."""
    before = sorted(os.listdir("/proc/self/fd"))
    socket.send_fds(ends[0], [b"\xc1"], [0, 1])
    with pytest.raises(msgspec.DecodeError):
        Channel[Any](ends[1], links.ToWorker).receive()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_descriptors_that_find_no_room_are_said_to_be_lost(ends: Ends) -> None:
    """With a full table the message comes without them, and can still be answered."""
    read, write = os.pipe()
    Channel[Any](ends[0], links.ToWorker).send(links.Assign("x.0", 1), (read, write))
    channel = Channel[Any](ends[1], links.ToWorker)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(DescriptorsLost) as lost:
            channel.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert lost.value.message == links.Assign("x.0", 1)
    for fd in (read, write):
        os.close(fd)


def test_beats_cost_nothing_without_a_heartbeat(ends: Ends) -> None:
    """Nobody listens: nothing is sent."""
    link, channel = worker(ends[0]), supervisor(ends[1])
    for progress in range(100):
        link.beat(progress)
    assert said(channel) == []


def test_beats_are_four_a_heartbeat_at_most(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is sent, then one each quarter, with the progress of that moment."""
    link, channel = worker(ends[0], heartbeat=8.0), supervisor(ends[1])
    for now in range(9):
        monkeypatch.setattr(links.time, "monotonic", lambda now=now: 100.0 + now)
        link.beat(now)
    assert said(channel) == [links.Beat(progress) for progress in (0, 2, 4, 6, 8)]


def test_the_end_of_idleness_is_said_at_once(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that begins is told of before it can hang; the end of work with the next beat due."""
    ours = links.WorkerLink(ends[0], links.Context("test/worker.0", 1, stall_timeout=8.0))
    channel = supervisor(ends[1])
    said_by_then = []
    for now, progress, idle in [
        (0, 0, True), (1, 0, False), (1.5, 1, True), (1.6, 1, False), (4, 2, True), (4.1, 2, False),
    ]:  # fmt: skip
        monkeypatch.setattr(links.time, "monotonic", lambda now=now: 100.0 + now)
        ours.beat(progress, idle=idle)
        said_by_then.append(said(channel))
    assert said_by_then == [
        [links.Beat(0, True)],
        [links.Beat(0)],
        [],
        [],
        [links.Beat(2, True)],
        [links.Beat(2)],
    ]


@pytest.mark.parametrize("close", [False, True])
def test_a_request_to_stop_or_the_end_of_the_link_is_seen(ends: Ends, close: bool) -> None:
    """`stopping` is False, then True for good; `wait` returns at once."""
    link = worker(ends[0])
    assert not link.stopping
    if close:
        ends[1].close()
    else:
        supervisor(ends[1]).send(links.StopRequest(5.0))
    assert link.wait(1000.0)
    assert link.stopping


def test_the_stop_signal_wakes_up_whoever_waits(ends: Ends) -> None:
    """Each of the given signals makes `wakeup_fd` readable and ends `wait`; no exception."""
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGUSR1)]
    link = worker(ends[0])
    try:
        link.stop_on_signal(signal.SIGTERM, signal.SIGUSR1)
        assert not link.interrupted
        signal.raise_signal(signal.SIGUSR1)
        assert link.interrupted
        assert link.wait(1000.0)
        assert os.eventfd_read(link.wakeup_fd) == 1
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGUSR1, before[1])
        os.close(link.wakeup_fd)


def test_waiting_ends_by_itself(ends: Ends) -> None:
    """Without a request `wait` returns False after its time."""
    link = worker(ends[0])
    assert not link.wait(0.001)
    os.close(link.wakeup_fd)


@pytest.mark.parametrize("seconds", [math.inf, 30 * 86_400.0])
def test_one_may_wait_for_longer_than_the_kernel_counts(ends: Ends, seconds: float) -> None:
    """A month of milliseconds does not fit into its int: it is waited for in parts."""
    link = worker(ends[0])
    asks = threading.Timer(0.05, lambda: supervisor(ends[1]).send(links.StopRequest(5.0)))
    asks.start()
    assert link.wait(seconds)
    asks.join()
    os.close(link.wakeup_fd)


def test_the_end_of_a_process_may_be_waited_for_as_long() -> None:
    """`stop --timeout` takes a year."""
    process = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(process.pid)
    try:
        assert wait_for_end(pidfd, 366 * 86_400.0)
    finally:
        os.close(pidfd)
        process.wait()


def test_a_fork_of_a_worker_does_not_speak_for_it(ends: Ends) -> None:
    """The child of a worker has the same link, and says nothing on it."""
    link, channel = worker(ends[0]), supervisor(ends[1])
    pid = os.fork()
    if pid == 0:
        link.ready()
        os._exit(0)
    os.waitpid(pid, 0)
    assert said(channel) == []


def test_what_no_supervisor_reads_does_not_block_the_worker(ends: Ends) -> None:
    """A full link loses messages that are repeated anyway, and the worker goes on."""
    link = worker(ends[0], heartbeat=0.0)
    for progress in range(100_000):
        link.beat(progress)


def test_any_text_can_be_told(ends: Ends) -> None:
    """Surrogates are escaped; a long text loses its beginning, not its end."""
    link, channel = worker(ends[0]), supervisor(ends[1])
    link.failed("E" * 500, "broken \udcff", "x" * 200_000 + "the end")
    (failed,) = said(channel)
    assert isinstance(failed, links.Failed)
    assert failed.exception == "E" * 100
    assert failed.message == "broken \\udcff"
    assert len(failed.text) == links.MAX_TEXT
    assert failed.text.endswith("the end")


def test_caches_are_told_of_when_it_is_time_and_something_has_changed(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every five seconds at work, every second at rest; who rests is woken for the last word."""
    now, hits = 100.0, 0
    monkeypatch.setattr(links, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(caches, "known", [lambda: caches.CacheFacts("prices", hits=hits)])
    link, channel = worker(ends[0]), supervisor(ends[1])

    def told(after: float, idle: bool) -> list[int]:
        nonlocal now
        now = 100.0 + after
        link.beat(1, idle=idle)
        return [one.caches[0].hits for one in said(channel) if isinstance(one, caches.Caches)]

    assert told(0.0, False) == [0]
    hits = 7
    assert told(4.9, False) == []
    assert told(5.0, False) == [7]
    hits = 8
    assert told(5.5, True) == []
    assert link.beat_interval == links.CACHES_AT_REST
    assert told(6.0, True) == [8]
    assert link.beat_interval is None
    assert told(60.0, True) == []


def test_importing_the_link_does_not_load_the_runtime() -> None:
    """A worker's import stays cheap: the link, msgspec and the standard library."""
    program = (
        "import sys, supervisor.link\n"
        "print(*sorted(m for m in sys.modules if m.startswith('supervisor')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    pure = {
        "supervisor", "supervisor.caches", "supervisor.channel", "supervisor.declare",
        "supervisor.declare.logs", "supervisor.declare.recycler", "supervisor.declare.tree",
        "supervisor.errors", "supervisor.link", "supervisor.memory",
    }  # fmt: skip
    assert set(loaded.stdout.split()) <= pure


def test_without_a_supervisor_the_conveniences_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callable that is run by hand may call them."""
    monkeypatch.setattr(links, "_current", None)
    assert links.current() is None
    links.ready()
    links.beat(1)
    assert not links.stopping()
