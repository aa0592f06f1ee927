"""`dlq`: the dead letters of a queue: look at them, put them again, or let them go."""

import os
import time
from collections.abc import Callable
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
from supervisor.cli.broker import ask_queues, message_of
from supervisor.cli.progress import Progress
from supervisor.cli.queue import confirmed, queue_argument
from supervisor.cli.queue_view import letter_text, letters_text
from supervisor.cli.report import Problem, print_json
from supervisor.cli.text import plural
from supervisor.cli.units import COUNT
from supervisor.control.messages import QueueCommand
from supervisor.crashes import place
from supervisor.crashes.report import Work
from supervisor.crashes.shelf import Kept, listed

EXIT_PARTLY = 5
EXIT_TIMED_OUT = 6
#: Letters in one request; and of those that are answered whole, a MiB each at most.
PAGE, WHOLE = 200, 16
#: Seconds to wait for room in a queue before it is tried again.
WAIT = 0.2

common = options(name_option, timeout_option, json_option, debug_option)
ids_argument = click.argument("ids", nargs=-1, type=COUNT, metavar="[ID...]")
all_option = click.option("--all", "everything", is_flag=True, help="All letters of the queue.")


@click.group()
def dlq() -> None:
    """Look at dead letters: messages that are not tried again; replay or discard them."""


@dlq.command("list")
@queue_argument
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--offset", type=COUNT, default=0, help="Letters to pass over.")
@common
def list_letters(
    queue_name: str,
    limit: int,
    offset: int,
    name: str | None,
    timeout: float,
    as_json: bool,
    debug: bool,
) -> None:
    """List the dead letters of a queue, the oldest first."""
    command = QueueCommand("dead_list", queue_name, [], offset, limit)
    answer = ask_queues(control_path(name), command, timeout)
    letters = [_readable(one) for one in answer["letters"]]
    if as_json:
        document = {"schema": "supervisor.dead_letters/1", "queue": queue_name}
        print_json({**document, "letters": letters, "total": answer["total"]})
    else:
        click.echo(letters_text(letters, answer["total"]))


@dlq.command()
@queue_argument
@click.argument("ids", nargs=-1, required=True, type=COUNT, metavar="ID...")
@common
def show(
    queue_name: str,
    ids: tuple[int, ...],
    name: str | None,
    timeout: float,
    as_json: bool,
    debug: bool,
) -> None:
    """Show dead letters whole: message, error, traceback, times, worker, crash reports."""
    control = control_path(name)
    letters = [_readable(one) for one in _named(control, queue_name, ids, timeout)]
    reports = _reports(control)
    letters = [{**one, **_crashes(one, reports)} for one in letters]
    if as_json:
        print_json({"schema": "supervisor.dead_letters/1", "queue": queue_name, "letters": letters})
    else:
        click.echo("\n\n".join(letter_text(one) for one in letters))


@dlq.command()
@queue_argument
@ids_argument
@all_option
@common
def replay(
    queue_name: str,
    ids: tuple[int, ...],
    everything: bool,
    name: str | None,
    timeout: float,
    as_json: bool,
    debug: bool,
) -> int:
    """Put dead letters into their queue again, as new messages.

    It waits for room, and exits with 6 if there is none before --timeout. Letters that are no
    whole messages (they could not be opened) stay: then it exits with 5.
    """
    control, deadline = control_path(name), time.monotonic() + timeout
    found = _chosen(control, queue_name, ids, everything, timeout)
    whole = [one["id"] for one in found if one["whole"]]
    progress = Progress(f"replay {queue_name}", "letters", len(whole), "Ctrl-C stops it", as_json)
    left = list(whole)
    while left and time.monotonic() < deadline:
        page = left[:PAGE]
        answer = ask_queues(control, QueueCommand("dead_replay", queue_name, page), timeout)
        del left[: answer["replayed"]]
        progress.show(len(whole) - len(left), "" if answer["replayed"] else "waits for room")
        if left and answer["replayed"] < len(page):
            time.sleep(WAIT)
    progress.end()
    replayed, broken = len(whole) - len(left), len(found) - len(whole)
    text = f"replayed {plural(replayed, 'letter')} of {queue_name}"
    _say(queue_name, {"replayed": replayed, "left": len(left) + broken}, as_json, text)
    if left and not as_json:
        raise Problem(
            f"{len(left)} are left: {queue_name} has no room", "", "timed-out", EXIT_TIMED_OUT
        )
    if left:
        return EXIT_TIMED_OUT
    return EXIT_PARTLY if broken else 0


@dlq.command()
@queue_argument
@ids_argument
@all_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def discard(
    queue_name: str,
    ids: tuple[int, ...],
    everything: bool,
    yes: bool,
    name: str | None,
    timeout: float,
    as_json: bool,
    debug: bool,
) -> None:
    """Let dead letters go. They are gone."""
    control = control_path(name)
    found = [one["id"] for one in _chosen(control, queue_name, ids, everything, timeout)]
    confirmed(yes, f"discard {plural(len(found), 'dead letter')} of {queue_name}")
    progress = Progress(f"discard {queue_name}", "letters", len(found), "", as_json)
    for start in range(0, len(found), PAGE):
        page = found[start : start + PAGE]
        ask_queues(control, QueueCommand("dead_discard", queue_name, page), timeout)
        progress.show(start + len(page))
    progress.end()
    text = f"discarded {plural(len(found), 'letter')} of {queue_name}"
    _say(queue_name, {"discarded": len(found)}, as_json, text)


def _chosen(
    control: str, queue_name: str, ids: tuple[int, ...], everything: bool, timeout: float
) -> list[dict[str, Any]]:
    """Return the letters that are meant: those named, or all."""
    if bool(ids) == everything:
        raise click.UsageError("name letters by their ids, or say --all")
    if ids:
        return _named(control, queue_name, ids, timeout)
    return _all(lambda c: ask_queues(control, c, timeout), queue_name)


def _named(
    control: str, queue_name: str, ids: tuple[int, ...], timeout: float
) -> list[dict[str, Any]]:
    """Return letters by their ids, whole, a few at a time: an answer has a size."""
    pages = [list(ids[start : start + WHOLE]) for start in range(0, len(ids), WHOLE)]
    asked = [QueueCommand("dead_show", queue_name, page) for page in pages]
    return [one for command in asked for one in ask_queues(control, command, timeout)["letters"]]


def _all(ask: Callable[[QueueCommand], Any], queue_name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        answer = ask(QueueCommand("dead_list", queue_name, [], len(found), PAGE))
        found += answer["letters"]
        if not answer["letters"] or len(found) >= answer["total"]:
            return found


def _reports(control: str) -> list[Kept]:
    try:
        return listed(place.below(os.path.dirname(control)))
    except OSError:
        return []


def _crashes(letter: dict[str, Any], reports: list[Kept]) -> dict[str, Any]:
    """Name the reports of crashes over a message, the oldest first, and the last of them."""
    found = [one.id for one in reports if one.work is not None and _is_over(letter, one, one.work)]
    return {"crash_report": found[-1] if found else None, "crash_reports": found}


def _is_over(letter: dict[str, Any], report: Kept, work: Work) -> bool:
    """Whether a process was handling a message when it crashed; of many, not all are named."""
    names = [one.id for one in work.messages]
    if letter["message_id"] in names:
        return True
    queue, _, _ = letter["message_id"].partition(":")
    who = f"{report.path}#{report.generation}", report.pid
    unnamed = work.queue == queue and work.count > len(names)
    return unnamed and who == (letter["worker"], letter["process"])


def _readable(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "message": message_of(one["message"], one["size"])}


def _say(queue_name: str, answer: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print_json({"schema": "supervisor.command/1", "changed": [queue_name], **answer})
    else:
        click.echo(text)
