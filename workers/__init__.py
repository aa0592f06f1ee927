"""What authors of workers import: Worker, Consumer, Producer, queues by name, and their errors.

QueueError
├─ QueueFull            there is no room, or it would come too late: refused
│  ├─ QueueTimeout      there was none in the time that the caller gave
│  ├─ QueueClosed       the queue is being drained
│  └─ QueueNotDurable   its store cannot write
├─ MessageTooLarge      one message can never be put
├─ QueueUnavailable     there is no broker for too long
├─ QueueRefused         there is no such queue
├─ Interrupted          the worker was asked to stop while it waited
├─ CallFailed           whoever handled a call raised
└─ CallTimeout          no result came in time
"""

from typing import TYPE_CHECKING, Any

from supervisor.link import current
from workers.consumer import Consumer
from workers.loops.batch import Batch
from workers.producer import Producer
from workers.queues.client.writer import QueueWriter
from workers.queues.errors import (
    CallFailed,
    CallTimeout,
    Interrupted,
    MessageTooLarge,
    QueueClosed,
    QueueError,
    QueueFull,
    QueueNotDurable,
    QueueRefused,
    QueueTimeout,
    QueueUnavailable,
    Reject,
    Retry,
)
from workers.worker import Worker, queue_address

if TYPE_CHECKING:
    from workers.queues.client.async_writer import AsyncQueueWriter

__all__ = [
    "AsyncQueueWriter",
    "Batch",
    "CallFailed",
    "CallTimeout",
    "Consumer",
    "Interrupted",
    "MessageTooLarge",
    "Producer",
    "QueueClosed",
    "QueueError",
    "QueueFull",
    "QueueNotDurable",
    "QueueRefused",
    "QueueTimeout",
    "QueueUnavailable",
    "QueueWriter",
    "Reject",
    "Retry",
    "Worker",
    "open_queue",
]


def open_queue(name: str) -> QueueWriter:
    """Open one of the app's queues for putting, from any worker.

    A work loop that puts into a full queue beats while it waits: it is held back, and not stuck.

    Args:
        name: the queue's name.

    Raises:
        LookupError: this process is not supervised, or its app has no queues.
        QueueRefused: there is no queue of that name.

    """
    link = current()
    if link is None:
        raise LookupError("not in a worker: start the app with `supervisor run`")
    return QueueWriter(name, queue_address(link), link, stops=False)


def __getattr__(name: str) -> Any:
    """Import what brings asyncio only for those who use it: every fork would carry its pages."""
    if name != "AsyncQueueWriter":
        raise AttributeError(f"module 'workers' has no attribute {name!r}")
    from workers.queues.client.async_writer import AsyncQueueWriter

    return AsyncQueueWriter
