"""The errors of queues: which of them authors of workers catch."""

import inspect

import workers
from workers.queues import errors
from workers.queues.errors import QueueError

#: Raised by the runtime, and caught by it: no handler or producer ever sees one.
PRIVATE = {"UndecodableError"}


def test_every_error_is_public_or_meant_not_to_be() -> None:
    """What is raised for authors is imported from `workers`, by the name that the docs say."""
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert defined >= PRIVATE
    for name in defined - PRIVATE:
        assert name in workers.__all__
        assert getattr(workers, name) is getattr(errors, name)
    assert not PRIVATE & set(workers.__all__)


def test_all_that_a_queue_raises_is_a_queue_error() -> None:
    """One `except` is enough for who does not care which; Retry and Reject are for handlers."""
    handlers_raise = {"Retry", "Reject"}
    for name in set(workers.__all__) & vars(errors).keys() - handlers_raise:
        assert issubclass(getattr(workers, name), QueueError)
