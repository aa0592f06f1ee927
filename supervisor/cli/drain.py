"""Emptying the queues of an app before it is stopped."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.cli.broker import ask_queues, queue_statistics
from supervisor.cli.progress import Progress
from supervisor.cli.report import EXIT_FAILED, Facts, Problem
from supervisor.cli.text import plural
from supervisor.control.messages import QueueCommand
from supervisor.errors import NotRunning, SupervisorError

EXIT_TIMED_OUT = 6
#: Seconds between two looks at a queue that is being emptied.
LOOK = 0.1


def drain_all(control: str, timeout: float, quiet: bool) -> None:
    """Hold back who puts, queue by queue in their declared order, until each is empty.

    A queue whose consumers feed the next one is to be declared before it. When there is not enough
    time, or it is interrupted, all go on as before: those that were closed already stay so.

    Args:
        control: the app's control socket.
        timeout: seconds for all of them.
        quiet: whether to show no progress.

    Raises:
        Problem: something is left after ``timeout`` seconds, or could not be opened again.

    """
    deadline = time.monotonic() + timeout
    held: list[str] = []
    try:
        for name in [str(one["name"]) for one in queue_statistics(control, timeout)]:
            seconds = max(1.0, deadline - time.monotonic())
            if not _statistics(control, name, seconds)["closed"]:
                held.append(name)
                ask_queues(control, QueueCommand("hold", name), seconds)
            _empty(control, name, deadline, quiet)
    except BaseException as error:
        _reopen(control, held, timeout, error)
        raise


def _reopen(control: str, held: Sequence[str], timeout: float, cause: BaseException) -> None:
    """Let all go on that was held back, whatever becomes of one of them; ``cause``: why.

    Raises:
        Problem: some could not be opened again; says which, and what ``cause`` was.

    """
    failures: dict[str, str] = {}
    for name in held:
        try:
            ask_queues(control, QueueCommand("reopen", name), timeout)
        except NotRunning:
            return  # the app has ended, and with it what was held back
        except SupervisorError as error:
            failures[name] = Facts(error).message
    if failures:
        known = isinstance(cause, SupervisorError)
        why = Facts(cause).message if known else "interrupted"
        raise Problem(
            f"{why}; still closed: {', '.join(failures)} ({next(iter(failures.values()))})",
            "open each again: " + ", ".join(f"supervisor queue reopen {name}" for name in failures),
            Facts(cause).code if known else "failed",
            Facts(cause).exit_code if known else EXIT_FAILED,
        ) from cause


def _statistics(control: str, name: str, timeout: float) -> dict[str, Any]:
    return {one["name"]: one for one in queue_statistics(control, timeout)}[name]


def _empty(control: str, name: str, deadline: float, quiet: bool) -> None:
    seconds = max(1.0, deadline - time.monotonic())
    found = _statistics(control, name, seconds)
    begun = left = int(found["depth"])
    advice = "Ctrl-C stops it, and the app goes on"
    progress = Progress(f"drain {name}", "messages", begun, advice, quiet)
    while left and time.monotonic() < deadline:
        time.sleep(min(LOOK, max(0.0, deadline - time.monotonic())))
        found = _statistics(control, name, seconds)
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
