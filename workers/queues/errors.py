"""What can go wrong with a queue, as its users see it."""

from workers.queues.frames import MAX_DELAY, Rejected, Welcome


class QueueError(Exception):
    """Base of the errors of queues."""


class QueueFull(QueueError):  # noqa: N818 - a state, said as the user would
    """The queue had no room, or would not have served it in time; the message was not put.

    ``messages``: how many were not put, of those put since the last confirmation.
    """

    messages: int = 1


class QueueTimeout(QueueFull):
    """There was no room in the time that the caller gave; the message was not put."""


class QueueClosed(QueueFull):
    """The queue is being drained: it takes no messages until it is opened again."""


class QueueNotDurable(QueueFull):
    """The queue's store cannot write (its disk is full, or failed); the message was not put."""


class MessageTooLarge(QueueError):  # noqa: N818
    """One message is larger than a queue takes; it was not put."""


class QueueUnavailable(QueueError):  # noqa: N818
    """The broker does not answer (it is restarted by its supervisor; that takes too long)."""


class QueueRefused(QueueError):  # noqa: N818
    """The broker refused a request: an unknown queue, or a message that can never fit."""


class Interrupted(QueueError):  # noqa: N818
    """The worker was asked to stop while it waited for a queue."""


class CallFailed(QueueError):  # noqa: N818
    """The worker that handled a call raised this, or the message became a dead letter."""


class CallTimeout(QueueError, TimeoutError):  # noqa: N818
    """No result came in time; the call was given up, and is not begun any more."""


class Retry(Exception):  # noqa: N818 - raised by handlers, to say what is wanted
    """Raised by a handler: let this message come again, with ``attempt`` one higher.

    Args:
        after: seconds until then (negative: none), ten years at most; None: by the queue's backoff.
        reason: for the dead letter that it becomes when no attempt is left.

    Raises:
        ValueError: ``after`` is no such number; the message comes again by the queue's backoff.

    """

    def __init__(self, after: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "to be tried again")
        # What the broker could not read would end the worker, and count as an end of the message.
        if after is not None and not (isinstance(after, int | float) and after <= MAX_DELAY):
            raise ValueError(f"after is {after!r}; allowed: seconds, at most {MAX_DELAY:.0f}")
        self.after = None if after is None else max(0.0, float(after))
        self.reason = str(reason)


class Reject(Exception):  # noqa: N818 - raised by handlers, as `Retry`
    """Raised by a handler: this message is not to be tried again; it becomes a dead letter."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "rejected")
        self.reason = str(reason)


class UndecodableError(Exception):
    """A message is found not to be decodable when it is begun. To the runtime itself."""


_ERRORS: dict[str, type[QueueFull]] = {
    "full": QueueFull,
    "shed": QueueFull,
    "closed": QueueClosed,
    "store": QueueNotDurable,
}


def rejection(queue: str, why: Rejected, messages: int) -> QueueFull:
    """Make the error of a put that the broker refused."""
    count = "1 message" if messages == 1 else f"{messages} messages"
    error = _ERRORS.get(why.reason, QueueFull)(
        f"queue {queue!r} refused {count}: {why.message or why.reason}"
    )
    error.messages = messages
    return error


def no_room(queue: str, waited: float, limits: Welcome) -> QueueTimeout:
    """Make the error of a put for which there was no room in so many seconds."""
    return QueueTimeout(
        f"queue {queue!r} had no room within {waited:.3g} s: it takes {limits.capacity} messages "
        f"and {limits.max_bytes} bytes; who is behind is said by supervisor queue show {queue}"
    )
