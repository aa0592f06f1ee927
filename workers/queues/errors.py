"""What can go wrong with a queue, as its users see it."""


class QueueError(Exception):
    """Base of the errors of queues."""


class QueueFull(QueueError):  # noqa: N818 - a state, said as the user would
    """The queue had no room within the timeout; the message was not put."""


class MessageTooLarge(QueueError):  # noqa: N818
    """One message is larger than a queue takes; it was not put."""


class QueueUnavailable(QueueError):  # noqa: N818
    """The broker does not answer (it is restarted by its supervisor; that takes too long)."""


class QueueRefused(QueueError):  # noqa: N818
    """The broker refused a request: an unknown queue, or a message that can never fit."""


class Interrupted(QueueError):  # noqa: N818
    """The worker was asked to stop while it waited for a queue."""
