"""`supervisor queue` and `supervisor dlq` about an app that runs."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import ROOT, App, running


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Run an app with one durable queue."""
    where = tmp_path_factory.mktemp("state")
    environment = {"SUPERVISOR_STATE_DIR": str(where), "FIXED": str(where / "fixed")}
    with running("tests.e2e.queue_app:tree", **environment) as one:
        one.event("up")
        yield one
        assert one.end() == 0


def answer(app: App, *arguments: str, code: int = 0) -> Any:
    """Run a command with --json, and return its document."""
    done = app.command(*arguments, "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def put(app: App, *lines: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Put lines into the queue."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor.cli.main", "queue", "put", "orders"],
        input="\n".join(lines), cwd=ROOT, env=app.environment, capture_output=True, text=True,
        check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def orders(*numbers: int, **fields: object) -> list[str]:
    """Make lines of orders."""
    return [json.dumps({"n": number, **fields}) for number in numbers]


def handled(app: App, number: int) -> None:
    """Wait until an order was handled."""
    app.until(lambda record: record["event"] == "handled" and record.get("n") == number)


def queue(app: App) -> dict[str, Any]:
    """Return what the queue says of itself."""
    found = answer(app, "queue", "show", "orders")
    assert found["schema"] == "supervisor.queue/1"
    return dict(found["queue"])


def test_lines_are_put_and_handled(app: App) -> None:
    """Each line of JSON is a message; empty ones are none."""
    assert "put 2 messages" in put(app, *orders(1), "", *orders(2)).stdout
    handled(app, 1)
    handled(app, 2)


def test_a_line_that_is_no_json_stops_it(app: App) -> None:
    """What was put before a wrong line is in the queue, and the line is named."""
    done = put(app, *orders(3), "{", *orders(4), code=5)
    assert "line 2 is not JSON" in done.stderr
    assert "put 1 message before" in done.stderr
    handled(app, 3)
    assert "put 0 messages before" in put(app, "{", *orders(4), code=1).stderr


def test_a_line_without_a_usable_key_stops_it(app: App) -> None:
    """A message whose field for dedupe is no single value is named; null is no value at all."""
    done = put(app, *orders(5, id=None), *orders(6, id=None), *orders(7, id=[1]), code=5)
    assert "line 3 cannot be put: field 'id' is a list: no key" in done.stderr
    handled(app, 5)
    handled(app, 6)


def test_a_queue_can_be_paused(app: App) -> None:
    """A paused queue delivers nothing, can be looked into, and goes on when it is resumed."""
    answer(app, "queue", "pause", "orders")
    put(app, *orders(10, 11, 12))
    found = answer(app, "queue", "peek", "orders", "--limit", "2", "--offset", "1")
    assert [one["message"]["n"] for one in found["messages"]] == [11, 12]
    assert queue(app)["depth"] == 3
    assert "paused" in app.command("queue", "list").stdout
    assert '{"n": 10}' in app.command("queue", "peek", "orders").stdout
    answer(app, "queue", "resume", "orders")
    handled(app, 12)


def test_a_queue_can_be_purged(app: App) -> None:
    """What is purged is gone; it has to be meant."""
    answer(app, "queue", "pause", "orders")
    put(app, *orders(20, 21))
    refused = answer(app, "queue", "purge", "orders", code=2)
    assert "--yes" in refused["error"]["hint"]
    assert answer(app, "queue", "purge", "orders", "--yes")["dropped"] == 2
    answer(app, "queue", "resume", "orders")
    assert app.command("queue", "purge", "orders", "--yes").stdout.startswith("dropped 0 messages")


def test_a_full_queue_holds_back_who_puts(app: App) -> None:
    """More lines than there is room for wait; with a timeout that is said."""
    answer(app, "queue", "pause", "orders")
    command = [sys.executable, "-m", "supervisor.cli.main", "queue", "put", "orders"]
    done = subprocess.run(
        [*command, "--timeout", "0.3"], input="\n".join(orders(*range(100, 190))), cwd=ROOT,
        env=app.environment, capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == 6
    assert re.search(r"had no room within 1[.\d]* s: it takes 50 messages", done.stderr)
    assert f"put {queue(app)['depth']} messages before" in done.stderr
    answer(app, "queue", "purge", "orders", "--yes")
    answer(app, "queue", "resume", "orders")


def test_a_queue_can_be_drained(app: App) -> None:
    """It takes nothing more, and is empty in the end; what is left in time is counted."""
    answer(app, "queue", "pause", "orders")
    put(app, *orders(30, 31))
    drained = answer(app, "queue", "drain", "orders", "--refuse", "--timeout", "0.3", code=6)
    assert drained["left"] == 2
    assert "closed" in app.command("queue", "list").stdout
    assert "put 0 messages" in put(app, *orders(32), code=1).stderr
    answer(app, "queue", "resume", "orders")
    assert answer(app, "queue", "drain", "orders")["left"] == 0
    handled(app, 31)
    answer(app, "queue", "reopen", "orders")
    put(app, *orders(33))
    handled(app, 33)


def test_dead_letters_are_shown_replayed_and_discarded(app: App) -> None:
    """A message that fails is a dead letter with its error; it can be tried again, or let go."""
    put(app, *orders(40, 41, 42, fail=True))
    while (found := answer(app, "dlq", "list", "orders"))["total"] < 3:
        pass
    letters = {one["message"]["n"]: one for one in found["letters"]}
    assert sorted(letters) == [40, 41, 42]
    text = app.command("dlq", "show", "orders", str(letters[40]["id"])).stdout
    assert "order 40 cannot be handled" in text
    assert '"n": 40' in text
    Path(app.environment["FIXED"]).touch()
    assert answer(app, "dlq", "replay", "orders", str(letters[40]["id"]))["replayed"] == 1
    handled(app, 40)
    assert (
        answer(app, "dlq", "discard", "orders", str(letters[41]["id"]), "--yes")["discarded"] == 1
    )
    assert answer(app, "dlq", "replay", "orders", "--all")["replayed"] == 1
    handled(app, 42)
    assert app.command("dlq", "list", "orders").stdout.strip() == "no dead letters"


@pytest.mark.parametrize(
    "arguments",
    [("queue", "pause", "order"), ("queue", "show", "order"), ("dlq", "list", "order")],
    ids=" ".join,
)
def test_an_unknown_queue_is_4(app: App, arguments: tuple[str, ...]) -> None:
    """A queue that is not there is said to be, with what there is."""
    assert "orders" in json.dumps(answer(app, *arguments, code=4)["error"])


def test_a_dead_letter_that_is_not_there(app: App) -> None:
    """A letter that is named and not there is 4, whatever is to be done with it."""
    for words in (("show",), ("replay",), ("discard", "--yes")):
        error = answer(app, "dlq", *words, "orders", "777", code=4)["error"]
        assert "no dead letter 777" in error["message"]
        assert error["code"] == "no-such-letter"


def test_all_or_some_letters_have_to_be_named(app: App) -> None:
    """Neither ids nor --all, or both, is no order."""
    assert app.command("dlq", "replay", "orders").returncode == 2
    assert app.command("dlq", "discard", "orders", "1", "--all").returncode == 2


def test_an_app_without_a_broker_is_asked_in_vain(tmp_path: Path) -> None:
    """Where no app runs, every command says so with 3."""
    environment = {"SUPERVISOR_RUNTIME_DIR": str(tmp_path), "PATH": ""}
    for words in (["queue", "list"], ["dlq", "list", "orders"]):
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.cli.main", *words], cwd=ROOT, env=environment,
            capture_output=True, check=False, timeout=50,
        )  # fmt: skip
        assert done.returncode == 3
