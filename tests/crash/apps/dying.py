"""Children that die in all the ways that leave a crash report, and in some that leave none."""

import ctypes
import os
import signal
import threading

from supervisor import Child, Ignore, Supervisor, link
from supervisor.link import current
from workers import Worker

PAUSE = threading.Event()


def life() -> int:
    """Which process in its slot this is, from 1 on."""
    here = current()
    assert here is not None
    return here.context.incarnation


def live() -> None:
    """Do nothing until stopped."""
    while True:
        signal.pause()


def segv() -> None:
    """Read address 0, once."""
    if life() == 1:
        ctypes.string_at(0)
    live()


def raises() -> None:
    """Quote a secret in an exception that moves the cursor, once."""
    if life() == 1:
        raise LookupError(f"\x1b[2J cannot log in as {os.environ['DB_PASSWORD']}")
    live()


def hangs() -> None:
    """Beat once, and never again; in the second life, go on."""
    link.beat(1)
    if life() == 1:
        PAUSE.wait()
    while not link.stopping():
        link.beat(2)
        PAUSE.wait(0.02)


def declines() -> None:
    """Say that there is nothing to do."""
    raise Ignore("nothing to do")


def ignores_all() -> None:
    """Do not stop when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    live()


def returns() -> None:
    """End in order."""


class Fails(Worker):
    """Has no database."""

    def init(self) -> None:
        """Look for it."""
        raise ConnectionError("no database")


def crash() -> None:
    """Crash, again and again."""
    os._exit(7)


loop = Child("loop", crash)
tree = Supervisor("dying", intensity=1000, children=[
    Child("segv", segv),
    Child("raises", raises, env={"DB_PASSWORD": "tr0ub4dor"}),
    Child("hangs", hangs, heartbeat=0.3),
    Child("once", crash, restart="temporary"),
    Child("command", command=["sh", "-c", "exit 5"], restart="temporary"),
    Child("declines", declines, restart="transient"),
    Child("returns", returns, restart="transient"),
    Child("quiet", live, count=2),
    Child("stubborn", ignores_all, shutdown=0.1),
])  # fmt: skip
#: A subtree that gives up, and one that never starts again after that.
gives_up = Supervisor("top", intensity=5, children=[
    Child("quiet", live),
    Supervisor("inner", [Child("x", crash)], intensity=2, restart="temporary"),
])  # fmt: skip
looping = Supervisor("looping", [Child("loop", crash), Child("quiet", live)], intensity=1_000_000)
#: An app that gives up, and one that cannot start.
doomed = Supervisor("doomed", [Child("x", crash)], intensity=1)
stillborn = Supervisor("stillborn", [Child("x", Fails)])
slow = Supervisor("slow", [Child("stubborn", ignores_all, shutdown=30.0)])
