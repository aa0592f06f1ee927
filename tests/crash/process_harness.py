"""A real template and the processes it forks, for tests: what they say, and how they end.

    with RealTemplate() as template:
        process = template.spawn("process_entries:say_pid")
        assert process.line() == str(process.pid)
        assert template.exited(process).status == 0

Everything waits for an event with a deadline.
"""

import os
import select
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Self, TypeVar

import msgspec

from supervisor import link as links
from supervisor.channel import Channel, pair
from supervisor.definition import Settings
from supervisor.process import launch as launches
from supervisor.process import messages
from supervisor.process.launcher import TemplateClient, TemplateGone, start_template

APPS = Path(__file__).parent / "apps"
#: Seconds that anything may take before a test gives up: generous, the machine may be busy.
PATIENCE = 30.0

Found = TypeVar("Found", bound=msgspec.Struct)


def readable(fd: int, deadline: float) -> None:
    """Wait until a descriptor is readable; fails at the deadline (monotonic)."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(max(0.0, deadline - monotonic()) * 1000), "nothing came in time"


def wait_gone(pid: int, patience: float = PATIENCE) -> None:
    """Wait until a process that may not be ours has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable(fd, monotonic() + patience)
    finally:
        os.close(fd)


@dataclass
class RealProcess:
    """One process: its link, its standard output, its stacks."""

    serial: int
    channel: Channel[Any]
    stdout: int
    stacks: int
    pid: int = 0
    said: bytes = b""
    heard: list[msgspec.Struct] = field(default_factory=list)

    def line(self) -> str:
        """Wait for the next line it prints."""
        deadline = monotonic() + PATIENCE
        while b"\n" not in self.said:
            readable(self.stdout, deadline)
            piece = os.read(self.stdout, 65536)
            assert piece, f"it has ended after {self.said!r}, {self.heard}"
            self.said += piece
        line, _, self.said = self.said.partition(b"\n")
        return line.decode()

    def pids(self) -> list[int]:
        """Wait for a line of pids."""
        return [int(word) for word in self.line().split()]

    def message(self, kind: type[Found]) -> Found:
        """Wait for a message of this kind on its link; others before it are kept in `heard`."""
        deadline = monotonic() + PATIENCE
        while True:
            readable(self.channel.fileno(), deadline)
            received = self.channel.receive()
            assert received is not None, f"its link was closed after {self.heard}"
            if isinstance(received[0], kind):
                return received[0]
            self.heard.append(received[0])

    def link_closed(self) -> None:
        """Wait until its end of the link is closed."""
        deadline = monotonic() + PATIENCE
        while True:
            readable(self.channel.fileno(), deadline)
            received = self.channel.receive()
            if received is None:
                return
            self.heard.append(received[0])

    def wrote_stacks(self) -> str:
        """What faulthandler has written by now."""
        return os.pread(self.stacks, 65536, 0).decode()

    def close(self) -> None:
        """Give the descriptors back."""
        self.channel.close()
        os.close(self.stdout)
        os.close(self.stacks)


class RealTemplate:
    """A template process, or another connection to one, as a supervisor has it."""

    def __init__(self, client: TemplateClient | None = None) -> None:
        self.pid = 0
        if client is None:
            self.pid, client = start_template()
        self.client = client
        self._serial = 0
        self._replies: list[tuple[messages.Reply, list[int]]] = []
        self._processes: list[RealProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
        for process in self._processes:
            process.close()
        self.reap()

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def kill(self) -> None:
        """Kill the template itself."""
        os.kill(self.pid, signal.SIGKILL)  # our child, not reaped: the number is its own
        self.reap()

    def reap(self) -> None:
        """Wait for the end of the template, if it is our child."""
        if self.pid:
            wait_gone(self.pid)
            os.waitpid(self.pid, 0)
            self.pid = 0

    # --- requests -----------------------------------------------------------------------------

    def spawn(
        self,
        run: str | launches.Node | launches.Command,
        argument: bytes = b"",
        *,
        declared: dict[str, int] | None = None,
        settings: Settings | None = None,
        **launch: Any,
    ) -> RealProcess:
        """Have a process forked, and wait until it exists."""
        process = self.ask_for(run, argument, declared=declared, settings=settings, **launch)
        process.pid = self.reply(messages.Spawned, serial=process.serial).pid
        return process

    def ask_for(
        self,
        run: str | launches.Node | launches.Command,
        argument: bytes = b"",
        *,
        declared: dict[str, int] | None = None,
        **launch: Any,
    ) -> RealProcess:
        """Ask for a process, and do not wait for the answer."""
        declared = declared or {}
        process, link_end, stdout = self._new()
        payload = encoded(run, argument, list(declared), **launch)
        fds = [link_end, process.stacks, stdout, stdout, *declared.values()]
        self.client.spawn(process.serial, payload, fds)
        os.close(link_end)
        os.close(stdout)
        return process

    def spare(self, kind: bytes = b"") -> tuple[RealProcess, int]:
        """Have a spare forked; returns it and the write end of its standard output."""
        process, link_end, stdout = self._new()
        self.client.spare(process.serial, link_end, process.stacks, kind)
        os.close(link_end)
        process.pid = self.reply(messages.Spawned, serial=process.serial).pid
        return process, stdout

    def open(self) -> "RealTemplate":
        """Make another connection over this one."""
        token = self.next()
        self.client.open(token)
        _, fds = self._wait(messages.Opened, token=token)
        opened = RealTemplate(TemplateClient(socket.socket(fileno=fds[0])))
        opened._serial = token * 1000
        return opened

    def load(self, app: str) -> messages.Loaded | messages.LoadFailed:
        """Have an app imported."""
        self.client.load(app, [])
        reply, _ = self._wait(messages.Loaded | messages.LoadFailed)
        assert isinstance(reply, messages.Loaded | messages.LoadFailed)
        return reply

    def next(self) -> int:
        """Return a number that was not used yet."""
        self._serial += 1
        return self._serial

    # --- replies ------------------------------------------------------------------------------

    def reply(self, kind: type[Found], **fields: object) -> Found:
        """Wait for a reply with these fields; all others are kept."""
        reply, _ = self._wait(kind, **fields)
        assert isinstance(reply, kind)
        return reply

    def exited(self, process: RealProcess) -> messages.Exited:
        """Wait for the end of a process."""
        return self.reply(messages.Exited, serial=process.serial)

    def gone(self) -> None:
        """Wait until the template has closed this connection."""
        deadline = monotonic() + PATIENCE
        while True:
            readable(self.client.fileno(), deadline)
            try:
                self._replies += self.client.receive()
            except TemplateGone:
                return

    def _wait(self, kind: Any, **fields: object) -> tuple[messages.Reply, list[int]]:
        deadline = monotonic() + PATIENCE
        while True:
            for index, (reply, _) in enumerate(self._replies):
                if isinstance(reply, kind) and _has(reply, fields):
                    return self._replies.pop(index)
            try:
                readable(self.client.fileno(), deadline)
            except AssertionError:
                raise AssertionError(f"no {kind} {fields}; there is {self._replies}") from None
            self.client.flush()
            self._replies += self.client.receive()

    def _new(self) -> tuple[RealProcess, int, int]:
        ours, theirs = pair()
        read, write = os.pipe()
        stacks = os.memfd_create("stacks", os.MFD_CLOEXEC)
        channel: Channel[Any] = Channel(ours, links.FromWorker)
        process = RealProcess(self.next(), channel, read, stacks)
        self._processes.append(process)
        return process, theirs.detach(), write


def encoded(run: str | launches.Node | launches.Command, *arguments: Any, **kind: Any) -> bytes:
    """Return a launch as it travels; the arguments are those of `kind_of`."""
    launch = launches.Launch("test/process.0", 1, kind_of(run, *arguments, **kind))
    return launches.encode(launch)


def encoded_kind(run: str, **kind: Any) -> bytes:
    """Return what a spare is told of the child that it is to become."""
    return launches.encode(kind_of(run, **kind))


def kind_of(
    run: str | launches.Node | launches.Command,
    argument: bytes = b"",
    fds: list[str] | None = None,
    settings: Settings | None = None,
    **kind: Any,
) -> launches.Kind:
    """Make what the starts of a child have in common."""
    what = launches.Entry(run, argument) if isinstance(run, str) else run
    return launches.Kind(what, settings=settings or Settings(), fds=fds or [], **kind)


def _has(reply: messages.Reply, fields: dict[str, object]) -> bool:
    return all(getattr(reply, name) == value for name, value in fields.items())
