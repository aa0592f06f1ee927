"""`supervisor stop --drain` that gives up: what it held back goes on, and nothing else does."""

from typing import Any

import pytest

from supervisor.cli import broker, drain
from supervisor.cli.report import Problem
from supervisor.control.messages import QueueCommand
from supervisor.errors import NotRunning

NEVER = 0.0


class App:
    """Queues that nothing empties; some commands fail."""

    def __init__(self, *names: str, closed: str = "") -> None:
        self.closed = {name: name == closed for name in names}
        self.asked: list[tuple[str, str]] = []
        self.errors: dict[tuple[str, str], BaseException] = {}
        self.depth = dict.fromkeys(names, 0)

    def ask(self, _control: str, command: QueueCommand, _timeout: float) -> Any:
        """Do as the broker does."""
        if command.verb == "stats":
            return [
                {"name": name, "closed": closed, "depth": self.depth[name], "leased": 0}
                for name, closed in self.closed.items()
            ]
        asked = command.verb, command.queue
        self.asked.append(asked)
        if asked in self.errors:
            raise self.errors[asked]
        self.closed[command.queue] = command.verb == "hold"
        return {"left": self.depth[command.queue]}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """Make three queues, of which the operator has closed the second; the last one is not empty."""
    one = App("orders", "bills", "mail", closed="bills")
    one.depth["mail"] = 3
    monkeypatch.setattr(drain, "ask_queues", one.ask)
    monkeypatch.setattr(broker, "ask_queues", one.ask)
    return one


def test_what_was_closed_before_stays_closed(app: App) -> None:
    """It is neither held nor opened; all others are open again."""
    with pytest.raises(Problem, match="3 messages left in mail"):
        drain.drain_all("", NEVER, quiet=True)
    assert app.closed == {"orders": False, "bills": True, "mail": False}
    assert [queue for _, queue in app.asked] == ["orders", "mail", "orders", "mail"]


def test_what_was_closed_before_is_waited_for(app: App) -> None:
    """The app is not stopped over what it holds."""
    app.depth["bills"] = 1
    with pytest.raises(Problem, match="1 message left in bills"):
        drain.drain_all("", NEVER, quiet=True)
    assert app.closed == {"orders": False, "bills": True, "mail": False}


def test_one_that_cannot_be_opened_keeps_none_closed(app: App) -> None:
    """The others are opened, and it is named with what helps; the exit code stays."""
    app.errors["reopen", "orders"] = Problem("no answer")
    with pytest.raises(Problem) as raised:
        drain.drain_all("", NEVER, quiet=True)
    assert not app.closed["mail"]
    assert "3 messages left in mail" in raised.value.problem
    assert raised.value.problem.endswith("still closed: orders (no answer)")
    assert raised.value.hint == "open each again: supervisor queue reopen orders"
    assert (raised.value.code, raised.value.exit_code) == ("timed-out", drain.EXIT_TIMED_OUT)


def test_an_interrupt_opens_all_again(app: App) -> None:
    """Also the queue whose answer had not come."""
    app.errors["hold", "mail"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        drain.drain_all("", NEVER, quiet=True)
    assert app.asked[2:] == [("reopen", "orders"), ("reopen", "mail")]


def test_an_app_that_has_ended_has_nothing_closed(app: App) -> None:
    """It says that, and not that its queues could not be opened."""
    gone = NotRunning("it has ended")
    app.errors["hold", "mail"] = app.errors["reopen", "orders"] = gone
    with pytest.raises(NotRunning) as raised:
        drain.drain_all("", NEVER, quiet=True)
    assert raised.value is gone
