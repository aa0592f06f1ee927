"""A real log pump in a process of its own, with pipes that the test holds as root would."""

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from supervisor.channel import Channel, pair
from supervisor.link import FromWorker, Ready, StopRequest
from supervisor.logs.messages import Forget, Process, Source

ROOT = str(Path(__file__).resolve().parent.parent)
PROGRAM = """
import socket, sys
from supervisor.link import Context, WorkerLink
from supervisor.logs.pump import main
end, terminal = map(int, sys.argv[1:3])
kept = dict(zip(("staging_in", "staging_out", "notes"), map(int, sys.argv[5:])))
link = WorkerLink(socket.socket(fileno=end), Context("runtime/pump", int(sys.argv[4])))
main(link, bytes.fromhex(sys.argv[3]), {"terminal": terminal, **kept})
"""


def log_pipe() -> tuple[int, int]:
    """Make a pipe as a supervisor does for a slot."""
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read, False)
    return read, write


class PumpProcess:
    """Starts a pump that prints to a descriptor; kills it at the end if it is still there.

    ``ledger``: what outlives a pump, if it may have a successor (`ledger.descriptors`).
    """

    def __init__(
        self,
        terminal: int,
        incarnation: int = 1,
        ledger: dict[str, int] | None = None,
        **options: Any,
    ) -> None:
        ours, theirs = pair()
        argument = msgspec.msgpack.encode(options).hex()
        kept = list((ledger or {}).values())
        arguments = [theirs.fileno(), terminal, argument, incarnation, *kept]
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            pass_fds=(theirs.fileno(), terminal, *kept),
            cwd=ROOT,
        )
        theirs.close()
        self.channel: Channel[FromWorker] = Channel(ours, FromWorker)
        received = self.channel.receive()
        assert received is not None
        assert isinstance(received[0], Ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _t: type | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.kill()

    def source(self, number: int, path: str, stream: str, fd: int, *writers: int) -> None:
        """Give it a pipe, and say which pids, the incarnations 1, 2 ..., have written to it."""
        known = [Process(path, pid, number) for number, pid in enumerate(writers, 1)]
        self.channel.send(Source(number, path, stream, known), (fd,))

    def writer(self, path: str, pid: int, incarnation: int) -> None:
        """Say who writes."""
        self.channel.send(Process(path, pid, incarnation))

    def forget(self, number: int) -> None:
        """Say that a slot is gone."""
        self.channel.send(Forget(number))

    def stop(self) -> int:
        """Ask it to stop, wait for the end; returns the exit code."""
        self.channel.send(StopRequest(10.0))
        return self.process.wait(20)

    def kill(self) -> None:
        """Kill it, if it lives, and reap it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        self.channel.close()

    def rss_bytes(self) -> int:
        """Return the memory it has."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Return the processor time it took."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wake_ups(self) -> int:
        """Count how often it was scheduled to run again after having waited."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("voluntary_ctxt_switches"):
                    return int(line.split()[1])
        raise AssertionError(line)


def slot(
    fds: list[int], pump: PumpProcess, number: int, path: str, stream: str, *writers: int
) -> tuple[int, int]:
    """Make a slot's pipe and give it to a pump."""
    read, write = log_pipe()
    fds += [read, write]
    pump.source(number, path, stream, read, *writers)
    return read, write


class Reader:
    """Reads lines from a descriptor, with a deadline."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.rest = b""
        self.found: deque[bytes] = deque()
        os.set_blocking(fd, False)

    def lines(self, enough: int, seconds: float = 20.0) -> list[bytes]:
        """Return the next ``enough`` lines."""
        deadline = time.monotonic() + seconds
        while len(self.found) < enough:
            left = deadline - time.monotonic()
            assert left > 0, (enough, list(self.found)[-5:], self.rest)
            if select.select([self.fd], [], [], left)[0]:
                piece = os.read(self.fd, 1 << 20)
                assert piece, (enough, list(self.found)[-5:])
                *whole, self.rest = (self.rest + piece).split(b"\n")
                self.found.extend(whole)
        return [self.found.popleft() for _ in range(enough)]

    def documents(self, enough: int) -> list[dict[str, Any]]:
        """Return the next lines, decoded."""
        return [msgspec.json.decode(line) for line in self.lines(enough)]


def widen(fd: int) -> None:
    """Give a pipe all the room an unprivileged user may have."""
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
