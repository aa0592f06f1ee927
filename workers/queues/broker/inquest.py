"""The inquest: what consumers were handling when they ended, told to who writes crash reports."""

import contextlib
import socket
from collections.abc import Callable, Iterable

from supervisor.crashes.at_hand import MOST_NAMED, AtHand, Message, encode
from workers.queues.core.chunk import Chunk
from workers.queues.core.leases import Verdict
from workers.queues.frames import name_of

#: Hears of it; never waits.
Tell = Callable[[AtHand], None]


class Inquest:
    """Finds out, for one queue.

    Args:
        queue: its name.
        epoch: of its numbers, if it is not durable.
        tell: hears of it.

    """

    def __init__(self, queue: str, epoch: int, tell: Tell) -> None:
        self._queue, self._tell = queue, tell
        self._epoch = epoch
        self._given_back: dict[int, tuple[int, list[Message]]] = {}  # by number of the consumer

    def gave_back(self, consumer: int, chunk: Chunk, index: int) -> None:
        """A consumer has given a message back, and is going to end over it."""
        count, messages = self._given_back.get(consumer, (0, []))
        if count < MOST_NAMED:
            messages.append(self._named(chunk, index))
        self._given_back[consumer] = count + 1, messages

    def ended(self, consumer: int, worker: str, found: Iterable[Verdict]) -> None:
        """A consumer is gone. ``worker``: its name; ``found``: what becomes of what it had."""
        count, messages = self._given_back.pop(consumer, (0, []))
        for one in found:
            most = min(one.suspects, MOST_NAMED - len(messages))
            messages += [self._named(one.chunk, one.done + n) for n in range(most)]
            count += one.suspects
        if count and worker:
            self._tell(AtHand(worker, self._queue, count, messages))

    def _named(self, chunk: Chunk, index: int) -> Message:
        return Message(name_of(self._queue, self._epoch, chunk.origin + index), chunk.told)


def nobody(_found: AtHand) -> None:
    """Is told nothing."""


def teller(deaths: socket.socket) -> Tell:
    """Return what tells it on a socket of packets, if there is room now."""

    def tell(found: AtHand) -> None:
        with contextlib.suppress(OSError):
            deaths.send(encode(found), socket.MSG_DONTWAIT)

    return tell
