"""Children that commit one fault each in their first life, and live quietly from the second on."""

import asyncio
import ctypes
import os
import select
import signal
from collections.abc import Callable

from supervisor import Child, Supervisor, link


def first_life() -> bool:
    """Whether this process is the first in its slot."""
    current = link.current()
    assert current is not None
    return current.context.incarnation == 1


def live() -> None:
    """Do nothing until stopped."""
    print("alive", os.getpid(), flush=True)
    while True:
        signal.pause()


def once(fault: Callable[[], object]) -> Callable[[], None]:
    """Commit a fault in the first life."""

    def run() -> None:
        if first_life():
            fault()
        live()

    run.__name__ = fault.__name__
    return run


def segv() -> None:
    """Read address 0."""
    ctypes.string_at(0)


def abort() -> None:
    """Abort."""
    os.abort()


def fpe() -> None:
    """Die of SIGFPE."""
    signal.raise_signal(signal.SIGFPE)


def bus() -> None:
    """Die of SIGBUS."""
    signal.raise_signal(signal.SIGBUS)


def sneaks_out() -> None:
    """End with status 0 in the middle of the work."""
    os._exit(0)


def returns() -> None:
    """Return at once, in order."""


def exits_orderly() -> None:
    """Leave with status 0, in order."""
    raise SystemExit(0)


def exits_three() -> None:
    """Leave with status 3."""
    raise SystemExit(3)


def raises() -> None:
    """Fail in the author's code."""
    raise LookupError("no such order")


async def raises_async() -> None:
    """Fail in a coroutine, once."""
    if first_life():
        raise LookupError("no such order, asynchronously")
    await asyncio.Event().wait()


def daemonises() -> None:
    """Leave a daemon behind in the old way: fork, setsid, fork; then die."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, b"%d" % os.getpid())
            live()
        os._exit(0)
    print("daemon", os.read(read, 20).decode(), flush=True)
    os._exit(9)


def lets_grandchild_escape() -> None:
    """Start a grandchild in a session of its own, and die."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.write(write, b"%d" % os.getpid())
        live()
    print("grandchild", os.read(read, 20).decode(), flush=True)
    os._exit(9)


def leaves_stdout_open() -> None:
    """Die while a grandchild that ignores all it can keeps stdout open."""
    read, write = os.pipe()
    if os.fork() == 0:
        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)
        os.write(write, b"%d" % os.getpid())
        live()
    print("heir", os.read(read, 20).decode(), flush=True)
    os._exit(9)


def closes_streams() -> None:
    """Close stdout and stderr, and go on working."""
    os.close(1)
    os.close(2)
    select.select([], [], [])


def closes_link() -> None:
    """Close every descriptor above 2, the link among them, and go on living."""
    os.closerange(3, 256)
    live()


def dies_with(signum: int) -> Callable[[], None]:
    """Make a fault of a signal."""

    def die() -> None:
        os.kill(os.getpid(), signum)

    return die


def child(name: str, fault: Callable[[], object], **options: object) -> Child:
    """Declare a child that commits a fault once."""
    return Child(name, once(fault), **options)  # type: ignore[arg-type]


tree = Supervisor(
    "faults",
    intensity=1000,
    children=[
        Child("bystander", live, count=2),
        child("segv", segv),
        child("abort", abort),
        child("fpe", fpe),
        child("bus", bus),
        child("killed", dies_with(signal.SIGKILL)),
        child("termed", dies_with(signal.SIGTERM)),
        child("sneaks", sneaks_out),
        child("sneaks-transient", sneaks_out, restart="transient"),
        child("sneaks-temporary", sneaks_out, restart="temporary"),
        Child("returns-transient", returns, restart="transient"),
        Child("returns-temporary", returns, restart="temporary"),
        child("leaves", exits_orderly),
        child("leaves-three", exits_three, restart="transient"),
        child("raises", raises),
        Child("raises-async", raises_async),
        child("daemon", daemonises),
        child("setsid", lets_grandchild_escape),
        child("stdout", leaves_stdout_open),
        child("mute", closes_streams),
        child("unlinked", closes_link),
        Child("true", command=["true"], restart="transient"),
        Child("false", command=["false"], restart="temporary"),
    ],
)
