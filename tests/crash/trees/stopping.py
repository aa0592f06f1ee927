"""Children that note when they are stopped, and some that make it hard."""

import os
import signal
import threading
from collections.abc import Callable

from marks import path

from supervisor import Child, Supervisor


def note(what: str) -> None:
    """Append a line to the notes; short ones are never mixed."""
    with open(os.environ["MARKS"] + "/notes", "a") as notes:
        notes.write(f"{what}\n")


def until_stopped() -> None:
    """Wait for the request to stop, and note it."""
    try:
        print("alive", os.getpid(), flush=True)
        while True:
            signal.pause()
    finally:
        note(f"stopped {path()}")


def crashes_when_stopped() -> None:
    """Die badly in the middle of an orderly stop."""
    try:
        until_stopped()
    finally:
        os.abort()


def never_ready() -> None:
    """Never say that the start has succeeded."""
    print("in init", flush=True)
    while True:
        signal.pause()


def slow_to_stop() -> None:
    """Take a while to stop."""
    try:
        until_stopped()
    finally:
        threading.Event().wait(0.7)


def deaf() -> None:
    """Never stop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("alive", os.getpid(), flush=True)
    while True:
        signal.pause()


def children(*targets: Callable[[], None]) -> list[Child]:
    """Make children a, b, c…, in this order."""
    return [Child(name, target) for name, target in zip("abcdef", targets, strict=False)]


orderly = Supervisor("orderly", children(until_stopped, until_stopped, until_stopped))
crashing = Supervisor(
    "crashing", children(until_stopped, crashes_when_stopped, until_stopped, crashes_when_stopped)
)
stuck = Supervisor(
    "stuck",
    [*children(until_stopped, until_stopped), Child("c", never_ready, ready="notify")],
    intensity=0,
)
slow = Supervisor("slow", children(slow_to_stop))
stubborn = Supervisor("stubborn", [Child("a", deaf, shutdown="infinity")])
