"""Kills at every boundary between system calls: a program of its own, small, because it forks much.

    python -m tests.log_sweep DIRECTORY FORM COMPRESS STEP

The code that keeps lines runs in a child process in which each system call on files, before and
after, is counted; at the chosen one it kills itself. A successor goes on, is killed too, and the
third must find everything: each line once, in order.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.logs import compressor
from supervisor.logs.delivery import Delivery
from supervisor.logs.ledger import Ledger, descriptors
from supervisor.logs.messages import FileOptions, Source
from supervisor.logs.peek import Peeker
from supervisor.logs.raw import RawDelivery
from supervisor.logs.sink import FileSink
from supervisor.logs.source import LogPipe
from tests.log_files import content, events, options

CALLS = (
    "open", "close", "mkdir", "rename", "unlink", "stat", "fstat", "fsync", "ftruncate",
    "pwrite", "pread", "splice", "write", "posix_fallocate", "fork", "waitpid",
)  # fmt: skip
LINES = 100
PER_BLOCK = 20


class KilledAtCall:
    """Stands for `os` functions: counts, and kills this process at one of them."""

    def __init__(self, at: int) -> None:
        self._left = at
        self._real = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            setattr(os, name, self._counted(name))

    def _counted(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*arguments: Any, **named: Any) -> Any:
            self._tick()
            result = real(*arguments, **named)
            self._tick()
            return result

        return call

    def _tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGKILL)


def pump(pipe_fd: int, kept: FileOptions, fds: dict[str, int], *, compress: bool) -> None:
    """Do what a pump does: recover, deliver what is in the pipe, compress what was rotated."""
    epoll = select.epoll()
    ledger, peeker = Ledger(fds), Peeker()
    sink = FileSink(kept, epoll, ledger.lost, lambda *_, **__: None)
    kind = RawDelivery if kept.format == "raw" else Delivery
    delivery = kind(None, sink, ledger, peeker)
    delivery.recover()
    pipe = LogPipe(Source(1, "shop/a.0", "stdout"), os.dup(pipe_fd))
    while data := pipe.look(peeker):
        cut = pipe.cut(data, PER_BLOCK, 1 << 20)
        assert cut is not None
        delivery.deliver(pipe, *cut)
        sink.tend(time.monotonic())
    deadline = time.monotonic() + 20
    while compress and sink.store is not None and sink.store.compressor is not None:
        sink.tend(time.monotonic())
        if sink.store.compressor.job is None:
            break
        for fd, _ in epoll.poll(max(0.0, deadline - time.monotonic())):
            sink.take_event(fd, time.monotonic())
    sink.close()


def forked(at: int, *arguments: Any, compress: bool) -> int:
    """Run a pump in a child process that is killed at a call; returns the wait status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    code = 1
    try:
        if at:
            KilledAtCall(at)
        pump(*arguments, compress=compress)
        code = 0
    finally:
        os._exit(code)


def lines() -> bytes:
    """What is written to the pipe: fits into it at once."""
    return b"".join(b"line %d %s\n" % (n, b"x" * 20) for n in range(LINES))


def sweep(tmp_path: Path, form: str, *, compress: bool, step: int) -> int:
    """Kill at one boundary after the other until one is behind the end; returns how many."""
    at = 1
    while True:
        root = tmp_path / f"{at}"
        kept = options(
            root,
            max_use=1 << 20,
            segment=1024 if form == "raw" else 4096,
            format=form,
            compress=compress,
        )
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(write, lines())
        fds = descriptors()
        first = forked(at, read, kept, fds, compress=compress)
        forked(max(1, at // 2), read, kept, fds, compress=compress)
        assert forked(0, read, kept, fds, compress=compress) == 0
        for fd in (read, write, *fds.values()):
            os.close(fd)
        home = root / "shop" / "a"
        if form == "raw":
            assert content(home / "0.out") == lines(), at
        else:
            seen = [event.split()[1] for event in events(home)]
            assert seen == [str(n) for n in range(LINES)], at
        leftover = [path for path in root.rglob("*") if path.name.endswith(".tmp")]
        assert not leftover, at
        if os.WIFEXITED(first):
            return at
        at += step


def main() -> None:
    """Sweep, and print how many boundaries there are."""
    directory, form, compress, step = sys.argv[1:]
    compressor.NICE = 0  # nothing else is to be disturbed less than this
    print(sweep(Path(directory), form, compress=compress == "yes", step=int(step)))


if __name__ == "__main__":
    main()
