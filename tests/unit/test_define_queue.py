"""What may be said of a queue, and what the error says when it may not."""

from typing import Any

import pytest

from supervisor import Child, Queue, Supervisor
from supervisor.declare.define import define
from supervisor.definition import QueueDefinition
from supervisor.errors import DefinitionError
from workers import Consumer, Producer


def defined(**options: Any) -> QueueDefinition:
    """Define a queue of an app."""
    return define(Supervisor("shop", queues=[Queue("orders", **options)])).queues[0]


def test_a_queue_with_nothing_said_is_plain() -> None:
    """It blocks, keeps nothing on disk, and costs no policy."""
    queue = defined()
    assert (queue.overflow, queue.durable, queue.priorities) == ("block", "", 1)
    assert (queue.rate, queue.rate_per_key, queue.fair_by, queue.ttl) == (None,) * 4
    assert queue == QueueDefinition("orders", where=queue.where)


@pytest.mark.parametrize(
    ("option", "given", "checked"),
    [
        ("durable", True, "full"),
        ("durable", False, ""),
        ("durable", "process", "process"),
        ("rate", 100, (100.0, 10.0)),
        ("rate", 0.5, (0.5, 1.0)),
        ("rate", (50, 5), (50.0, 5.0)),
        ("lease", None, None),
        ("lease", 5, 5.0),
        ("retry_budget", None, None),
        ("retry_budget", 0, 0.0),
        ("retry_backoff", [1, 2], (1.0, 2.0)),
        ("max_bytes", "1MiB", 1 << 20),
        ("serializer", "pickle", "pickle"),
    ],
)
def test_values_are_brought_into_one_form(option: str, given: object, checked: object) -> None:
    """The broker sees numbers and words, never alternatives."""
    assert getattr(defined(**{option: given}), option) == checked


@pytest.mark.parametrize(
    ("options", "problem", "advice"),
    [
        ({"overflow": "drop-oldest"}, '"block", "reject"', 'did you mean "drop_oldest"?'),
        ({"ack": "soon"}, '"late", "early"', ""),
        ({"on_expired": "delete"}, '"dead", "drop"', ""),
        ({"serializer": "json"}, '"msgspec", "bytes", "pickle"', ""),
        ({"lease": 0}, "lease is 0", "seconds"),
        ({"ttl": -1.0}, "ttl is -1.0", "seconds"),
        ({"retry_backoff": (2.0, 1.0)}, "base not above cap", "(0.1, 60.0)"),
        ({"retry_backoff": 1.0}, "retry_backoff is 1.0", "(0.1, 60.0)"),
        ({"retry_budget": 1.5}, "a number from 0 to 1", "0.1"),
        ({"priorities": 11}, "from 1 to 10", ""),
        ({"fair_by": ""}, "fair_by", 'fair_by="tenant"'),
        ({"fair_by": len}, "fair_by", 'fair_by="tenant"'),
        ({"dedupe_by": 7}, "dedupe_by is 7", 'dedupe_by="tenant"'),
        ({"dedupe_by": "\ud800"}, "dedupe_by is '\\ud800'", 'dedupe_by="tenant"'),
        ({"dedupe_window": 0}, "dedupe_window is 0", "seconds"),
        ({"rate": 0}, "rate is 0", "rate=100"),
        ({"rate": True}, "rate is True", "rate=100"),
        ({"rate": 10**400}, "rate is", "rate=100"),
        ({"rate": (10, 0)}, "at least 1", "(100, 20)"),
        ({"rate_per_key": 5}, "fair_by is not", 'fair_by="tenant"'),
        ({"durable": "disk"}, 'durable is "disk"', '"process"'),
        ({"durable": 1}, "durable is 1", '"process"'),
        ({"max_dead": 0}, "max_dead is 0", ""),
        ({"dead_ttl": "1d"}, "dead_ttl", "seconds"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    options: dict[str, Any], problem: str, advice: str
) -> None:
    """At the place of the declaration."""
    with pytest.raises(DefinitionError) as caught:
        defined(**options)
    assert caught.value.problem.startswith('queue "orders": ')
    assert problem in caught.value.problem
    assert advice in caught.value.help
    assert __file__ in caught.value.where


@pytest.mark.parametrize("worker", [Consumer, Producer, Consumer()])
def test_who_lives_on_a_queue_has_to_have_one(worker: object) -> None:
    """A Consumer without queue= is refused with the tree, not when its process starts."""
    with pytest.raises(DefinitionError, match="needs a queue") as caught:
        define(Supervisor("shop", [Child("charge", worker)], queues=[Queue("orders")]))
    assert 'Child("charge", ..., queue=orders)' in caught.value.help
