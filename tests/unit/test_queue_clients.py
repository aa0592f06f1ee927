"""Which producers a broker remembers, so that what they send again is known."""

import pytest

from workers.queues.core import clients
from workers.queues.core.clients import Clients
from workers.queues.core.journal import Sequenced


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember three that are away."""
    monkeypatch.setattr(clients, "MAX_CLIENTS", 3)


def known(remembered: Clients) -> set[str]:
    """Return the names of those that are remembered."""
    return set(remembered.changes())


def test_who_is_connected_is_remembered_however_many_come() -> None:
    """A producer of a year's standing may send again what a thousand others came after."""
    remembered = Clients()
    remembered.entered("old").last = 7
    for number in range(10):
        remembered.left(remembered.entered(f"short {number}"))
    assert known(remembered) == {"old", "short 7", "short 8", "short 9"}
    assert remembered.entered("old").last == 7


def test_who_left_first_is_forgotten_first() -> None:
    """Whenever it came: it has had the longest time to come back."""
    remembered = Clients()
    sent = {name: remembered.entered(name) for name in "abcd"}
    for name in "dbca":
        remembered.left(sent[name])
    assert known(remembered) == {"a", "b", "c"}


def test_who_comes_back_before_its_end_was_seen_is_there() -> None:
    """Two connections of one client for a moment: the end of the first is not its own."""
    remembered = Clients()
    first = remembered.entered("a")
    assert remembered.entered("a") is first
    remembered.left(first)
    for number in range(5):
        remembered.left(remembered.entered(str(number)))
    assert "a" in known(remembered)


def test_what_a_store_has_kept_is_of_clients_that_are_away() -> None:
    """Unless they came before it could be opened."""
    remembered = Clients()
    remembered.entered("here").last = 5
    remembered.restore({name: Sequenced(name, 3) for name in ("here", "a", "b", "c", "d")})
    assert known(remembered) == {"here", "b", "c", "d"}
    assert remembered.entered("here").last == 5
    assert remembered.entered("b").last == 3
