"""A tree whose children say how they were called, for the tests of targets."""

import asyncio
import os
import signal
import sys

from process_entries import identity, say

from supervisor import Child, Supervisor
from supervisor import link as links


class Worker:
    """An object that runs itself on its link."""

    def __init__(self, word: str = "") -> None:
        self.word = word

    def supervised(self, link: links.WorkerLink) -> None:
        """Say ready, wait for the request to stop, end."""
        link.ready()
        say("supervised", self.word, link.context.path)
        stopped = link.wait(1000)
        say("stopped", stopped, link.interrupted)


def plain(*args: object) -> None:
    """Wait in `signal.pause`, and say so when the stack is unwound."""
    try:
        say("plain", *args, file_of_main())
        while True:
            signal.pause()
    finally:
        say("unwound")


def file_of_main() -> bool:
    """Whether a link is there."""
    return links.current() is not None


async def coroutine(*args: object) -> None:
    """Wait, and say so when cancelled."""
    try:
        say("coroutine", *args)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("cancelled")
        raise


async def slow_to_cancel() -> None:
    """Finish something after the cancellation."""
    try:
        say("working")
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        say("finished")


async def cancels_itself() -> None:
    """End by a cancellation that nobody asked for."""
    raise asyncio.CancelledError("mine")


def notifies() -> None:
    """Say ready by itself."""
    say("not ready yet")
    sys.stdin.read()
    links.ready()
    signal.pause()


def beats() -> None:
    """Beat more often than is sent."""
    for progress in range(1000):
        links.beat(progress)
    say("beaten")
    signal.pause()


def raises() -> None:
    """Fail."""
    say("raising")
    raise ValueError("out of range")


def says_pid() -> None:
    """Say the pid, which shows that a name was found."""
    say(os.getpid())


inner = Supervisor("inner", children=[Child("deep", says_pid)])
tree = Supervisor(
    "shop",
    children=[
        Child("worker", Worker, args=["word"]),
        Child("instance", Worker("made")),
        Child("plain", plain, args=[1, "two"]),
        Child("coroutine", coroutine, args=[3]),
        Child("slow-to-cancel", slow_to_cancel),
        Child("cancels-itself", cancels_itself),
        Child("notifies", notifies, ready="notify"),
        Child("beats", beats, heartbeat=1000.0),
        Child("raises", raises),
        Child("identity", identity, args=[None, b"", {}]),
        Child("by-name", "process_tree:says_pid"),
        Child("int-worker", Worker, stop_signal="SIGINT"),
        Child("int-plain", plain, stop_signal="SIGINT"),
        inner,
    ],
)


def make() -> Supervisor:
    """Make the tree when asked."""
    return tree
