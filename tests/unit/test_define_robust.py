"""Whatever an author writes into a declaration, the answer is a definition or a DefinitionError."""

import inspect
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import Child, Queue, Supervisor
from supervisor.declare.define import define
from supervisor.definition import SupervisorDefinition
from supervisor.errors import DefinitionError


def work(*_args: object) -> None:
    """Stand for an author's function."""


WORDS = [
    "permanent", "one_for_all", "infinity", "brutal_kill", "tcp:80", "tcp:", "SIGINT", "root",
    "64MiB", "json:dumps", "json:", ":", "", "a", "\0", "\ud800", "é", "/",
]  # fmt: skip
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text()
    | st.binary() | st.sampled_from([math.inf, work, Queue, Queue("q"), object(), 10**400])
)  # fmt: skip
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2)
    ),
    max_leaves=4,
)


def options_of(kind: type) -> list[str]:
    """List the parameters of a declaration."""
    return [name for name in inspect.signature(kind).parameters if name != "self"]


def answer(tree: Supervisor) -> None:
    """Define a tree; what comes out can be sent."""
    try:
        definition = define(tree)
    except DefinitionError as error:
        str(error).encode("utf-8", "backslashreplace")
        return
    sent = msgspec.msgpack.encode(definition)
    assert msgspec.msgpack.decode(sent, type=SupervisorDefinition) == definition


@pytest.mark.parametrize("option", options_of(Child))
def test_any_value_of_a_childs_option_is_answered(option: str) -> None:
    """No value of any type gets through to an exception of another kind."""

    @settings(max_examples=40, deadline=None)
    @given(junk)
    def check(value: object) -> None:
        answer(Supervisor("s", [Child(**{"name": "a", "target": work, option: value})]))

    check()


@pytest.mark.parametrize("option", options_of(Supervisor))
def test_any_value_of_a_supervisors_option_is_answered(option: str) -> None:
    """Neither on the root nor on a nested supervisor."""

    @settings(max_examples=40, deadline=None)
    @given(junk)
    def check(value: object) -> None:
        answer(Supervisor(**{"name": "s", option: value}))
        answer(Supervisor("s", [Supervisor(**{"name": "s", option: value})]))

    check()


@pytest.mark.parametrize("option", options_of(Queue))
def test_any_value_of_a_queues_option_is_answered(option: str) -> None:
    """Nor on a queue."""

    @settings(max_examples=40, deadline=None)
    @given(junk)
    def check(value: object) -> None:
        answer(Supervisor("s", queues=[Queue(**{"name": "s", option: value})]))

    check()
