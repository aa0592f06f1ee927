"""Whose fault a crash is: a message's, or its worker's. The policy, with real trees.

The first end of a process over a message counts for the restart intensity. Further ends over the
same message are charged to the message: its attempts are counted by the queue, and end in a dead
letter.
"""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.control.client import ControlClient
from supervisor.control.messages import QueueAnswer, QueueCommand
from tests.crash.app_harness import App, crash_reports, eventually

EXIT_GAVE_UP = 70


def run(directory: Path, *numbers: int, tree: str = "tree") -> App:
    """Run the app with these numbers in its queue."""
    environment = {"FED": str(directory / "fed")}
    state = ("--state", str(directory / "state"))
    return App(f"poison:{tree}", directory, *state, "--", *map(str, numbers), env=environment)


def queue_of(app: App) -> dict[str, Any]:
    """Return what the snapshot says of the queue."""
    queues: list[dict[str, Any]] = [dict(one) for one in app.snapshot().queues]
    return queues[0] if queues else {}


def handled(app: App, number: int) -> list[int]:
    """Return the attempts at which a number was begun."""
    lines = [r["event"].split() for r in app.find(raw=True) if r["event"].startswith("handling")]
    return sorted(int(attempt) for _, of, attempt in lines if int(of) == number)


def test_one_poison_message_ends_in_the_dead_letters_and_takes_no_tree_down(
    tmp_path: Path,
) -> None:
    """Eight ends of workers within a minute, three being allowed: they are the message's."""
    with run(tmp_path, 1, 2, -7, 3, 4) as app:
        app.up()
        eventually(lambda: queue_of(app).get("dead") == 1, "the letter")
        eventually(lambda: queue_of(app)["depth"] == 0, "the rest")
        eventually(
            lambda: len(handled(app, -7)) == 8 and all(handled(app, n) for n in (1, 2, 3, 4)),
            "lines",
        )
        assert handled(app, -7) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert [handled(app, innocent) for innocent in (1, 2, 3, 4)] == [[1]] * 4
        assert app.snapshot().tree.restarts_in_period == 1
        (letter,) = letters(app)
        assert (letter["reason"], letter["attempts"]) == ("crashed", 8)
        named = re.search(r"\(poison/worker\.\d#\d+, process \d+\)", letter["error"])
        assert named, letter["error"]
        assert app.stop() == 0


@pytest.mark.parametrize(
    "tree",
    ["threads", "batches", "raising", "raising_threads", "raising_tasks", "exiting_threads"],
)
def test_so_it_is_with_threads_batches_and_exceptions(tmp_path: Path, tree: str) -> None:
    """However messages are handled: the message is dead, all others are done, the tree stands."""
    with run(tmp_path, 1, 2, -7, 3, 4, tree=tree) as app:
        app.up()
        eventually(lambda: queue_of(app).get("dead") == 1, "the letter")
        eventually(lambda: queue_of(app)["depth"] == 0, "the rest")
        assert queue_of(app)["settled_total"] == 4
        (letter,) = letters(app)
        assert letter["attempts"] == 8
        assert app.snapshot().tree.restarts_in_period <= 2
        assert app.stop() == 0


@pytest.mark.parametrize(
    "tree",
    ["tree", "threads", "batches", "raising", "raising_threads", "raising_tasks"],
)
def test_crash_reports_name_the_message_at_hand(tmp_path: Path, tree: str) -> None:
    """By id and attempt, whether its process was killed over it or it was given back first."""
    with run(tmp_path, 1, 2, -7, 3, 4, tree=tree) as app:
        app.up()
        eventually(lambda: queue_of(app).get("dead") == 1, "the letter")

        def of_the_last() -> list[dict[str, Any]]:
            reports = crash_reports(app.runtime / "crashes")
            works = [one["work"]["messages"] for one in reports]
            assert all("while handling" in one["headline"] for one in reports)
            return [work for work in works if [one["attempt"] for one in work] == [8]]

        [[poison]] = eventually(of_the_last, "the report of the last end over it") or [[]]
        assert re.fullmatch(r"numbers:[0-9a-f]{8}:3", poison["id"]), poison
        assert app.stop() == 0


@pytest.mark.parametrize("tree", ["called", "called_threads"])
def test_crash_reports_name_the_call_at_hand(tmp_path: Path, tree: str) -> None:
    """Though its caller has been answered already."""
    with run(tmp_path, 1, -7, 3, tree=tree) as app:
        app.up()
        [report] = eventually(lambda: crash_reports(app.runtime / "crashes"), "one") or []
        work = report["work"]
        assert re.fullmatch(r"numbers:[0-9a-f]{8}:2", work["messages"][0]["id"]), work
        assert work["messages"][0]["attempt"] == 1
        assert app.stop() == 0


def test_a_poison_message_takes_no_others_along_into_the_dead_letters(tmp_path: Path) -> None:
    """What several threads worked on comes again one by one: only one message ends every worker."""
    with run(tmp_path, 1, 2, 3, -7, 4, 5, 6, tree="company") as app:
        app.up()
        eventually(lambda: queue_of(app).get("dead") == 1, "the letter")
        eventually(lambda: queue_of(app)["depth"] == 0, "the rest")
        assert queue_of(app)["settled_total"] == 6
        eventually(lambda: all(handled(app, n) for n in range(1, 7)), "lines")
        assert max(handled(app, innocent)[-1] for innocent in range(1, 7)) <= 3
        assert app.snapshot().tree.restarts_in_period <= 2


def test_workers_that_end_over_every_message_take_their_tree_down(tmp_path: Path) -> None:
    """That is no poison: the first end over each message counts, and four are too many."""
    with run(tmp_path, *range(-1, -30, -1)) as app:
        assert app.wait() == EXIT_GAVE_UP


def test_so_it_is_with_what_a_queue_has_kept(tmp_path: Path) -> None:
    """That its broker was restarted charges a message with nothing: each first end counts."""
    with run(tmp_path, *range(-1, -30, -1), tree="filling") as app:
        app.up()
        eventually(lambda: queue_of(app).get("depth") == 29, "all are put")
        assert app.stop() == 0
    with run(tmp_path, tree="emptying") as app:
        assert app.wait() == EXIT_GAVE_UP


def letters(app: App) -> list[dict[str, Any]]:
    """Ask for the dead letters."""
    with ControlClient(app.socket) as client:
        answer = client.request(QueueCommand("dead_list", "numbers"))
    assert isinstance(answer, QueueAnswer)
    found: list[dict[str, Any]] = msgspec.msgpack.decode(answer.body)["letters"]
    return found


def test_exit_0_in_the_middle_of_a_message_is_a_crash(tmp_path: Path) -> None:
    """os._exit(0) with a message at hand: reported as a crash, and the message comes once more."""
    with run(tmp_path, 1, -7, 2, tree="leaving") as app:
        app.up()
        eventually(lambda: handled(app, -7) == [1, 2] and handled(app, 2), "lines")
        eventually(lambda: queue_of(app).get("depth") == 0, "the queue is empty")
        [left] = app.wait_until(lambda: app.find(event="child terminated"), "a report")
        assert (left["reason"], left["cause"]) == ("crash", "exit:0 unfinished")
        assert handled(app, 1) == handled(app, 2) == [1]
        assert queue_of(app)["dead"] == 0
        assert app.stop() == 0
