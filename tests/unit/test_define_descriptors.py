"""A tree that cannot fit into the limit of open files is refused before it starts."""

import resource

import pytest

from supervisor.definition import ChildDefinition, SupervisorDefinition
from supervisor.errors import DefinitionError
from supervisor.root import descriptors


def tree(count: int, *nested: SupervisorDefinition) -> SupervisorDefinition:
    """Make a supervisor of one pool, and what is nested."""
    pool = ChildDefinition("web", "app.py:1", "app:web", count=count)
    return SupervisorDefinition("shop", "app.py:2", [pool, *nested])


def test_the_process_that_needs_most_counts() -> None:
    """Nested supervisors share the load, except that the pump reads every pipe."""
    wide = descriptors.needed(tree(1000))
    assert wide == descriptors.BASE + 1000 * descriptors.PER_SLOT
    assert descriptors.needed(tree(500, tree(499))) < wide
    many = tree(10, *[tree(10) for _ in range(100)])
    assert descriptors.needed(many) == descriptors.BASE + 2 * (110 + 1000)


def test_a_soft_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user may have is taken, without asking."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, 100_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: given.append(pair))
    descriptors.require(tree(100))
    assert given == [(descriptors.BASE + 900, 100_000)]


def test_a_hard_limit_that_is_too_low_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message prints what is needed and what there is."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, 32))
    with pytest.raises(DefinitionError, match=r"needs 105 open files .* limit is 32"):
        descriptors.require(tree(1))
