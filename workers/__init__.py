"""What authors of workers import: Worker, Consumer, Producer, queues by name, and the log."""

from supervisor.link import current
from workers.consumer import Consumer
from workers.loops.batch import Batch
from workers.producer import Producer
from workers.queues.client.async_writer import AsyncQueueWriter
from workers.queues.client.writer import QueueWriter
from workers.queues.errors import (
    CallFailed,
    CallTimeout,
    QueueError,
    QueueFull,
    QueueUnavailable,
    Reject,
    Retry,
)
from workers.worker import Worker, queue_address

__all__ = [
    "AsyncQueueWriter",
    "Batch",
    "CallFailed",
    "CallTimeout",
    "Consumer",
    "Producer",
    "QueueError",
    "QueueFull",
    "QueueUnavailable",
    "QueueWriter",
    "Reject",
    "Retry",
    "Worker",
    "open_queue",
]


def open_queue(name: str) -> QueueWriter:
    """Open one of the app's queues for putting, from any worker.

    Args:
        name: the queue's name.

    Raises:
        LookupError: this process is not supervised, or its app has no queues.
        QueueRefused: there is no queue of that name.

    """
    link = current()
    if link is None:
        raise LookupError("not in a worker: start the app with `supervisor run`")
    return QueueWriter(name, queue_address(link))
