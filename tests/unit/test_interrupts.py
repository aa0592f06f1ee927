"""What signals from outside mean to root."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from supervisor.root import interrupts
from supervisor.root.interrupts import ECHO, Interrupts


@dataclass
class Root:
    """Notes what it is told to do, and has a clock that stands still."""

    done: list[str] = field(default_factory=list)
    now: float = 100.0

    def stop(self) -> None:
        """Stop in order."""
        self.done.append("stop")

    def stop_now(self) -> None:
        """Kill everything."""
        self.done.append("stop now")

    def reload(self, everything: bool, answer: Callable[[Any], None]) -> None:
        """Load anew."""
        self.done.append("reload")


def test_the_first_signal_stops_in_order_and_the_next_one_at_once() -> None:
    """Whichever they are; a person takes a moment between two of them."""
    root = Root()
    seen = Interrupts(root, lambda: root.now)
    seen.arrived(signal.SIGTERM)
    root.now += ECHO
    seen.arrived(signal.SIGINT)
    assert root.done == ["stop", "stop now"]


def test_the_echo_of_a_signal_is_not_another_one() -> None:
    """A wrapper passes on the Ctrl-C that the terminal has sent to us as well."""
    root = Root()
    seen = Interrupts(root, lambda: root.now)
    seen.arrived(signal.SIGINT)
    root.now += ECHO / 2
    seen.arrived(signal.SIGINT)
    assert root.done == ["stop"]
    root.now += ECHO
    seen.arrived(signal.SIGINT)
    assert root.done == ["stop", "stop now"]


@pytest.mark.parametrize(("terminal", "done"), [(True, "stop"), (False, "reload")])
def test_a_hangup_is_the_end_of_a_terminal_or_a_reload(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, done: str
) -> None:
    """SIGHUP, by whether there is a terminal that can hang up."""
    monkeypatch.setattr(interrupts, "has_terminal", lambda: terminal)
    root = Root()
    Interrupts(root).hung_up()
    assert root.done == [done]
