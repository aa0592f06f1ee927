"""The supervisor's end of a template: never blocked, and sceptical."""

import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import pytest

from supervisor.channel import Channel, pair
from supervisor.loop import Loop
from supervisor.process import launcher, messages
from supervisor.process.connection import Connection
from supervisor.process.launcher import TemplateClient, TemplateGone
from supervisor.shell import templates
from supervisor.shell.spares import Spare
from supervisor.shell.templates import Template

#: Seconds that anything may take.
PATIENCE = 30.0


@pytest.fixture
def ends() -> Iterator[tuple[TemplateClient, Channel[Any]]]:
    """A client, and the template's end of its connection."""
    ours, theirs = pair()
    theirs.setblocking(False)
    client = TemplateClient(ours)
    template: Channel[Any] = Channel(theirs, messages.Request)
    yield client, template
    client.close()
    template.close()


Ends = tuple[TemplateClient, Channel[Any]]


def requests(template: Channel[Any]) -> list[tuple[msgspec.Struct, list[int]]]:
    """Return the requests that are there."""
    found = []
    while True:
        try:
            received = template.receive()
        except BlockingIOError:
            return found
        assert received is not None
        found.append(received)


def test_each_request_arrives_as_it_was_made(ends: Ends) -> None:
    """Six requests, their fields and the number of their descriptors."""
    client, template = ends
    client.load("app:tree", ["--flag"])
    client.spawn(1, b"launch", [0, 1, 2, 0])
    client.spare(2, 0, 1)
    client.signal(1, 15)
    client.signal(1, 9, group=True)
    client.open(7)
    arrived = requests(template)
    assert [request for request, _ in arrived] == [
        messages.Load("app:tree", ["--flag"]),
        messages.Spawn(1, b"launch"),
        messages.Spawn(2),
        messages.Signal(1, 15),
        messages.Signal(1, 9, group=True),
        messages.Open(7),
    ]
    assert [len(fds) for _, fds in arrived] == [0, 4, 2, 0, 0, 0]
    for fd in [fd for _, fds in arrived for fd in fds]:
        os.close(fd)


def test_requests_wait_for_a_template_that_does_not_read(ends: Ends) -> None:
    """Nothing blocks, nothing is lost, descriptors may be closed by the caller meanwhile."""
    client, template = ends
    serial = 0
    while not client.wants_write:
        serial += 1
        client.signal(serial, 15)
    read, write = os.pipe()
    client.spawn(serial + 1, b"", [read, write])
    os.close(read)
    os.close(write)
    arrived = requests(template)
    while client.wants_write:
        client.flush()
        arrived += requests(template)
    arrived += requests(template)
    assert [request.serial for request, _ in arrived] == list(range(1, serial + 2))
    *_, (_, fds) = arrived
    os.write(fds[1], b"x")
    assert os.read(fds[0], 1) == b"x"
    for fd in fds:
        os.close(fd)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Have none to give for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fill(client: TemplateClient) -> int:
    """Make small requests until one has to wait; returns how many."""
    count = 0
    while not client.wants_write:
        count += 1
        client.signal(count, 15)
    return count


LARGE = messages.Spawn(1_000_000, b"x" * 200_000)


def test_a_request_that_finds_no_descriptor_waits_for_one(ends: Ends) -> None:
    """EMFILE is not the end of the template: what waits still waits, and arrives later."""
    client, template = ends
    small = fill(client)
    client.spawn(LARGE.serial, LARGE.launch, [])
    arrived = requests(template)
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        client.flush()
    arrived += requests(template)
    assert client.wants_write
    client.flush()
    template._large = True
    arrived += requests(template)
    assert [request.serial for request, _ in arrived] == [*range(1, small + 1), LARGE.serial]
    assert arrived[-1][0] == LARGE


def test_a_template_without_descriptors_for_it_asks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither counts as gone nor spins; what waited for a connection is asked for in order."""
    monkeypatch.setattr(templates, "SEND_AGAIN", 0.01)
    loop, (ours, theirs) = Loop(), pair()
    theirs.setblocking(False)
    there: Channel[Any] = Channel(theirs, messages.Request, large=True)
    template = Template(loop, "release")
    lost: list[bool] = []
    template.on_lost = lambda: lost.append(True)
    arrived: list[msgspec.Struct] = []

    def read(_mask: int) -> None:
        arrived.extend(request for request, _ in requests(there))
        if len(arrived) == 2:
            loop.stop()

    loop.watch(there, read)
    template.spawn(Spare(0, ours, -1), LARGE.launch, [], [])
    template.open(lambda _fd: None, lambda: None)
    with no_descriptors():
        template.attach(TemplateClient(ours))
    loop.run()
    assert arrived == [messages.Spawn(1, LARGE.launch), messages.Open(2)]
    assert not lost
    template.close()
    there.close()
    loop.close()


def test_replies_come_before_the_end(ends: Ends) -> None:
    """What was sent before the template died is heard; then TemplateGone, again and again."""
    client, template = ends
    assert client.receive() == []
    template.send(messages.Spawned(1, 42))
    template.close()
    assert client.receive() == [(messages.Spawned(1, 42), [])]
    for _ in range(2):
        with pytest.raises(TemplateGone):
            client.receive()


@pytest.mark.parametrize(
    ("packet", "fds"),
    [
        (b"\xc1", 0),
        (msgspec.msgpack.encode({"type": "exited", "serial": "one"}), 0),
        (msgspec.msgpack.encode(messages.Opened(1)), 0),
        (msgspec.msgpack.encode(messages.Opened(1)), 2),
        (msgspec.msgpack.encode(messages.Spawned(1, 2)), 1),
    ],
)
def test_a_template_that_talks_nonsense_counts_as_gone(ends: Ends, packet: bytes, fds: int) -> None:
    """It runs the author's code, so may say anything; root neither fails nor loses descriptors."""
    client, template = ends
    template.send(messages.Exited(1, 0))
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(template.socket, [packet], [0] * fds)
    assert client.receive() == [(messages.Exited(1, 0), [])]
    with pytest.raises(TemplateGone):
        client.receive()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_flood_of_replies_is_taken_in_parts(ends: Ends) -> None:
    """One call takes a bounded number, or fewer, so that other connections have their turn."""
    client, template = ends
    for serial in range(2 * launcher.MAX_REPLIES):
        template.send(messages.Exited(serial, 0))
    assert [reply.serial for reply, _ in client.receive(1)] == [0]
    assert len(client.receive()) == launcher.MAX_REPLIES
    assert len(client.receive()) == launcher.MAX_REPLIES - 1


def test_a_supervisor_that_never_reads_counts_as_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Replies wait up to a bound; at it the connection has overflowed and takes no more."""
    from supervisor.process import connection as connections

    monkeypatch.setattr(connections, "MAX_WAITING", 10)
    ours, theirs = pair()
    ours.setblocking(False)
    connection = Connection(Channel(ours, messages.Request), None, 0)
    for serial in range(10_000):
        connection.send(messages.Exited(serial, 0))
    assert connection.overflowed
    connection.close()
    theirs.close()


def test_a_template_that_is_stopped_at_once_ends_with_its_root() -> None:
    """Before it could see to that itself: the kernel continues it when whoever started it dies."""
    starts = (
        "import os, signal\n"
        "from supervisor.process.launcher import start_template\n"
        "pid, client = start_template()\n"
        "os.kill(pid, signal.SIGSTOP)\n"
        "print(pid, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starts], stdout=subprocess.PIPE, text=True
    ) as root:
        assert root.stdout is not None
        template = os.pidfd_open(int(root.stdout.readline()))
        root.kill()
    try:
        assert select.select([template], [], [], PATIENCE)[0], "the template has ended"
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(template, signal.SIGKILL)
        os.close(template)
