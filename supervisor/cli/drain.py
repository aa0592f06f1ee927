"""Emptying the queues of an app before it is stopped."""

import time
from collections.abc import Mapping
from typing import Any

from supervisor.cli.broker import ask_queues, queue_statistics
from supervisor.cli.progress import Progress
from supervisor.cli.report import Problem
from supervisor.cli.text import plural
from supervisor.control.messages import QueueCommand

EXIT_TIMED_OUT = 6
#: Seconds between two looks at a queue that is being emptied.
LOOK = 0.1


def drain_all(control: str, timeout: float, quiet: bool) -> None:
    """Hold back who puts, queue by queue in their declared order, until each is empty.

    A queue whose consumers feed the next one is to be declared before it. When there is not enough
    time, or it is interrupted, all go on as before.

    Args:
        control: the app's control socket.
        timeout: seconds for all of them.
        quiet: whether to show no progress.

    Raises:
        Problem: something is left after ``timeout`` seconds.

    """
    deadline = time.monotonic() + timeout
    held: list[str] = []
    emptied = False
    try:
        for one in queue_statistics(control, timeout):
            held.append(str(one["name"]))
            _empty(control, held[-1], deadline, quiet)
        emptied = True
    finally:
        if not emptied:
            for name in held:
                ask_queues(control, QueueCommand("reopen", name), timeout)


def _empty(control: str, name: str, deadline: float, quiet: bool) -> None:
    seconds = max(1.0, deadline - time.monotonic())
    begun = left = int(ask_queues(control, QueueCommand("hold", name), seconds)["left"])
    advice = "Ctrl-C stops it, and the app goes on"
    progress = Progress(f"drain {name}", "messages", begun, advice, quiet)
    found: dict[str, Any] = {}
    while left and time.monotonic() < deadline:
        time.sleep(min(LOOK, max(0.0, deadline - time.monotonic())))
        found = {one["name"]: one for one in queue_statistics(control, seconds)}[name]
        left = int(found["depth"])
        progress.show(max(0, begun - left), f"{found['leased']} with consumers")
    progress.end()
    if left:
        raise Problem(
            f"{plural(left, 'message')} left in {name}: the app was not stopped, and goes on",
            obstacle(found) or "give it more time with --timeout; without --drain it is stopped",
            "timed-out",
            EXIT_TIMED_OUT,
        )


def obstacle(queue: Mapping[str, Any]) -> str:
    """Say what keeps a queue from becoming empty, however long one waits; "" if nothing does."""
    name = queue.get("name")
    if queue.get("dead_full"):
        return f"its dead letters are full, so it delivers nothing: supervisor dlq list {name}"
    if queue.get("paused"):
        return f"it is paused, so it delivers nothing: supervisor queue resume {name}"
    return "" if queue.get("consumers", 1) else "it has no consumers: supervisor status"
