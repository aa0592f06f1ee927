"""`queue`: look at the queues of a running app, and direct them."""

import os
import sys
import time
from typing import Any

import click

from supervisor.cli.app import (
    control_path,
    debug_option,
    json_option,
    name_option,
    options,
    timeout_option,
)
from supervisor.cli.broker import EXIT_NO_SUCH, ask_queues, message_of, queue_statistics
from supervisor.cli.drain import obstacle
from supervisor.cli.progress import Progress
from supervisor.cli.queue_view import messages_text, queue_text, queues_text
from supervisor.cli.report import Problem, print_json, use_colour
from supervisor.cli.text import plural
from supervisor.cli.units import COUNT, PATH, SECONDS
from supervisor.control.messages import QueueCommand, QueueVerb
from supervisor.control.runtime_dir import QUEUES_SOCKET

EXIT_PARTLY, EXIT_TIMED_OUT = 5, 6
#: Seconds between two looks at a queue that is being drained.
LOOK = 0.1
#: What puts lines into a queue: found by its name, since the runtime does not import workers.
FEED = "workers.queues.client.feed"

common = options(name_option, timeout_option, json_option, debug_option)
queue_argument = click.argument("queue_name", metavar="QUEUE", type=PATH)


@click.group()
def queue() -> None:
    """Look at queues, pause, drain and purge them, and put messages into them."""


@queue.command("list")
@common
def list_queues(name: str | None, timeout: float, as_json: bool, debug: bool) -> None:
    """Show every queue: how full it is, who works on it, what is wrong."""
    found = queue_statistics(control_path(name), timeout)
    if as_json:
        print_json({"schema": "supervisor.queues/1", "queues": found})
    else:
        click.echo(queues_text(found, use_colour()), color=True)


@queue.command()
@queue_argument
@common
def show(queue_name: str, name: str | None, timeout: float, as_json: bool, debug: bool) -> None:
    """Show all that is known of one queue."""
    found = _statistics(control_path(name), queue_name, timeout)
    if as_json:
        print_json({"schema": "supervisor.queue/1", "queue": found})
    else:
        click.echo(queue_text(found, use_colour()), color=True)


@queue.command()
@queue_argument
@common
def pause(queue_name: str, name: str | None, timeout: float, as_json: bool, debug: bool) -> None:
    """Deliver nothing more from a queue; what is put into it waits."""
    _direct(
        "pause",
        queue_name,
        name,
        timeout,
        as_json,
        f"paused; go on with: supervisor queue resume {queue_name}",
    )


@queue.command()
@queue_argument
@common
def resume(queue_name: str, name: str | None, timeout: float, as_json: bool, debug: bool) -> None:
    """Deliver again from a queue that was paused."""
    _direct("resume", queue_name, name, timeout, as_json, "delivers again")


@queue.command()
@queue_argument
@common
def reopen(queue_name: str, name: str | None, timeout: float, as_json: bool, debug: bool) -> None:
    """Take messages again into a queue that was drained."""
    _direct("reopen", queue_name, name, timeout, as_json, "takes messages again")


@queue.command()
@queue_argument
@click.option("--refuse", is_flag=True, help="Refuse who puts, instead of holding it back.")
@common
def drain(
    queue_name: str, refuse: bool, name: str | None, timeout: float, as_json: bool, debug: bool
) -> int:
    """Take no more messages into a queue, and wait until the rest is handled.

    Who puts is held back, as by a full queue. It stays closed: open it again with reopen. Exits
    with 6 if something is left after --timeout; it is drained on nevertheless.
    """
    control, deadline = control_path(name), time.monotonic() + timeout
    verb: QueueVerb = "drain" if refuse else "hold"
    left = int(ask_queues(control, QueueCommand(verb, queue_name), timeout)["left"])
    begun = left
    advice = "Ctrl-C leaves it running"
    progress = Progress(f"drain {queue_name}", "messages", begun, advice, as_json)
    found: dict[str, Any] = {}
    while left and time.monotonic() < deadline:
        found = _statistics(control, queue_name, timeout)
        left = int(found["depth"])
        progress.show(max(0, begun - left), f"{found['leased']} with consumers")
        if left:
            time.sleep(min(LOOK, max(0.0, deadline - time.monotonic())))
    progress.end()
    if as_json:
        print_json({"schema": "supervisor.command/1", "changed": [queue_name], "left": left})
    elif left:
        raise Problem(
            f"{plural(left, 'message')} left in {queue_name} after {timeout:g} s",
            obstacle(found) or f"it is drained on: supervisor queue show {queue_name}",
            "timed-out",
            EXIT_TIMED_OUT,
        )
    else:
        again = f"supervisor queue reopen {queue_name}"
        click.echo(f"{queue_name} is empty and closed; open it with: {again}")
    return EXIT_TIMED_OUT if left else 0


@queue.command()
@queue_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def purge(
    queue_name: str, yes: bool, name: str | None, timeout: float, as_json: bool, debug: bool
) -> int:
    """Drop all messages of a queue that no consumer has. They are gone.

    What is put meanwhile stays. Exits with 6 if it is not done before --timeout.
    """
    control = control_path(name)
    depth = int(_statistics(control, queue_name, timeout)["depth"])
    confirmed(yes, f"drop {plural(depth, 'message')} of {queue_name}")
    deadline = time.monotonic() + timeout
    progress = Progress(f"purge {queue_name}", "messages", depth, "Ctrl-C stops it", as_json)
    dropped = upto = 0
    more = True
    while more and time.monotonic() < deadline:
        answer = ask_queues(control, QueueCommand("purge", queue_name, [], upto), timeout)
        dropped, upto, more = dropped + answer["dropped"], answer["upto"], answer["more"]
        progress.show(dropped)
    progress.end()
    found = {"dropped": dropped, "left": answer["left"]}
    _say(queue_name, found, as_json, f"dropped {plural(dropped, 'message')}; {answer['left']} left")
    return EXIT_TIMED_OUT if more else 0


@queue.command()
@queue_argument
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--offset", type=COUNT, default=0, help="Messages to pass over.")
@common
def peek(
    queue_name: str,
    limit: int,
    offset: int,
    name: str | None,
    timeout: float,
    as_json: bool,
    debug: bool,
) -> None:
    """Show the next messages of a queue; they stay where they are."""
    command = QueueCommand("peek", queue_name, [], offset, limit)
    found: list[dict[str, Any]] = ask_queues(control_path(name), command, timeout)["messages"]
    for one in found:
        one["message"] = message_of(one["message"], one["size"])
    if as_json:
        print_json({"schema": "supervisor.messages/1", "queue": queue_name, "messages": found})
    else:
        click.echo(messages_text(found))


@queue.command()
@queue_argument
@click.option(
    "--file", "source", type=click.File("rb"), default="-", help="JSON lines; - is stdin."
)
@options(
    name_option,
    click.option(
        "--timeout",
        type=SECONDS,
        default=None,
        metavar="SECONDS",
        help="How long to wait for room, each time.  [default: as long as it takes]",
    ),
    json_option,
    debug_option,
)
def put(
    queue_name: str,
    source: Any,
    name: str | None,
    timeout: float | None,
    as_json: bool,
    debug: bool,
) -> int:
    """Put messages into a queue, one for each line of JSON: queue put orders < orders.jsonl.

    A full queue holds it back. What was put is in the queue when this ends. Exits with 6 if there
    was no room before --timeout, with 5 if only some lines were put for another reason.
    """
    from importlib import import_module

    control = control_path(name)
    _statistics(control, queue_name, 10.0)  # says which queues there are
    address = os.path.join(os.path.dirname(control), QUEUES_SOCKET)
    total = _size(source)
    progress = Progress(f"put {queue_name}", "bytes", total, "Ctrl-C stops it", as_json)
    fed = import_module(FEED).feed(
        address,
        queue_name,
        source,
        timeout,
        lambda count, size, waits: progress.show(size, _put_so_far(count, waits)),
    )
    progress.end()
    exit_code = 0
    if fed.problem:
        exit_code = EXIT_TIMED_OUT if fed.timed_out else EXIT_PARTLY if fed.count else 1
    if as_json:
        document = {"schema": "supervisor.put/1", "queue": queue_name, "put": fed.count}
        print_json({**document, "error": fed.problem or None})
    elif not fed.problem:
        click.echo(f"put {plural(fed.count, 'message')} into {queue_name}")
    else:
        code = "timed-out" if fed.timed_out else "failed"
        raise Problem(
            f"{fed.problem}; put {plural(fed.count, 'message')} before that", "", code, exit_code
        )
    return exit_code


def confirmed(yes: bool, what: str) -> None:
    """Ask before something is gone; without a terminal it has to be said beforehand.

    Raises:
        Problem: nobody has said yes.

    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Problem(f"this would {what}", "say --yes if that is meant", "not-confirmed", 2)
    if not click.confirm(f"{what}?", err=True):
        raise Problem("nothing was done", "", "not-confirmed", 1)


def _direct(
    verb: QueueVerb, queue_name: str, name: str | None, timeout: float, as_json: bool, text: str
) -> None:
    answer = ask_queues(control_path(name), QueueCommand(verb, queue_name), timeout)
    _say(queue_name, answer, as_json, f"{queue_name}: {text}")


def _say(queue_name: str, answer: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print_json({"schema": "supervisor.command/1", "changed": [queue_name], **answer})
    else:
        click.echo(text)


def _statistics(control: str, queue_name: str, timeout: float) -> dict[str, Any]:
    """Return what one queue says of itself."""
    found = queue_statistics(control, timeout)
    for one in found:
        if one["name"] == queue_name:
            return one
    known = ", ".join(str(one["name"]) for one in found)
    raise Problem(
        f'there is no queue "{queue_name}"', f"there are: {known}", "no-such-queue",
        EXIT_NO_SUCH,
    )  # fmt: skip


def _put_so_far(count: int, waits: bool) -> str:
    return plural(count, "message") + (", waits for room" if waits else "")


def _size(source: Any) -> int | None:
    """Return the bytes of a file; None of a pipe."""
    try:
        status = os.fstat(source.fileno())
    except OSError:
        return None
    return status.st_size or None
