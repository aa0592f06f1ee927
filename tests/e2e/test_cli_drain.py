"""`supervisor stop --drain`: who puts is held back, what is there is handled, all is stopped."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import PATIENCE, App, running


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """Run an app with a producer that never stops, and two queues."""
    with running("tests.e2e.drain_app:tree", SENT=str(tmp_path / "sent")) as one:
        one.event("up")
        yield one


def sent(app: App) -> list[int]:
    """Return what came through both queues."""
    return [int(line) for line in Path(app.environment["SENT"]).read_text().split()]


def test_nothing_is_left_in_the_queues_of_an_app_that_was_drained(app: App) -> None:
    """All that was taken in came through, once and in order; nobody was refused, or ended badly."""
    while not sent(app):
        pass
    done = app.command("stop", "--drain", "--timeout", "20")
    assert done.returncode == 0, done.stderr
    assert app.process.wait(PATIENCE) == 0
    came = sent(app)
    assert came == list(range(len(came)))
    assert not [one for one in app.records if one.get("level") == "error"]


def test_an_app_that_does_not_get_empty_goes_on(app: App) -> None:
    """What is left is counted, nothing is lost, and the exit code is 6."""
    assert app.command("queue", "pause", "bills").returncode == 0
    done = app.command("stop", "--drain", "--timeout", "1", "--json")
    assert done.returncode == 6
    assert "left in" in json.loads(done.stdout)["error"]["message"]
    assert app.command("queue", "resume", "bills").returncode == 0
    before = len(sent(app))
    while len(sent(app)) <= before + 200:  # more than both queues hold: they are open again
        pass
    assert app.end() == 0
    came = sent(app)
    assert came == list(range(len(came)))


def test_producers_wait_while_their_queue_is_drained(app: App) -> None:
    """One queue is emptied and stays so; nobody ends over it, and it goes on when it is open."""
    while not sent(app):
        pass
    assert app.command("queue", "drain", "orders", "--timeout", "20").returncode == 0
    done = app.command("queue", "drain", "bills", "--timeout", "20")
    assert done.returncode == 0
    assert "is empty and closed" in done.stdout
    before = len(sent(app))
    assert app.command("queue", "drain", "orders").returncode == 0
    assert len(sent(app)) == before
    for name in ("orders", "bills"):
        assert app.command("queue", "reopen", name).returncode == 0
    while len(sent(app)) <= before + 200:  # more than both queues hold
        pass
    assert app.end() == 0
    came = sent(app)
    assert came == list(range(len(came)))
    assert not [one for one in app.records if one.get("level") == "error"]


def test_a_path_cannot_be_drained(app: App) -> None:
    """Queues are the app's, not a child's."""
    assert app.command("stop", "--drain", "feed").returncode == 2
    assert app.end() == 0
