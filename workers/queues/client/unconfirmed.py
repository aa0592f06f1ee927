"""What a writer has sent and the broker has not confirmed: kept, to be sent again if it must be."""

from collections import deque
from collections.abc import Iterator

import msgspec

from workers.queues.frames import Rejected


class Sent(msgspec.Struct, frozen=True, gc=False):
    """One frame that was sent. ``sequence`` numbers it, ``count`` its messages."""

    sequence: int
    count: int
    frame: bytearray


class Unconfirmed:
    """Frames in the order of their sequence numbers. ``messages``, ``bytes``: what they hold.

    What was refused is remembered until somebody is told: no message goes without a word.
    """

    __slots__ = ("_refused", "_sent", "bytes", "messages")

    def __init__(self) -> None:
        self._sent: deque[Sent] = deque()
        self._refused: list[tuple[Sent, Rejected]] = []
        self.messages = self.bytes = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._sent)

    def __iter__(self) -> Iterator[Sent]:
        """Go through them, the oldest first."""
        return iter(self._sent)

    @property
    def oldest(self) -> int:
        """The sequence number of the oldest; 0: there is none."""
        return self._sent[0].sequence if self._sent else 0

    def add(self, sent: Sent) -> None:
        """One more was sent."""
        self._sent.append(sent)
        self.messages += sent.count
        self.bytes += len(sent.frame)

    def confirm(self, sequence: int) -> None:
        """All up to here are in the queue, but those that were refused."""
        while self._sent and self._sent[0].sequence <= sequence:
            self._gone(self._sent.popleft())

    def refuse(self, sequence: int, why: Rejected) -> None:
        """One of them was refused: it is not in the queue."""
        for sent in self._sent:
            if sent.sequence == sequence:
                self._sent.remove(sent)
                self._gone(sent)
                self._refused.append((sent, why))
                return

    def take_refused(self) -> list[tuple[Sent, Rejected]]:
        """What was refused and nobody was told of yet."""
        refused, self._refused = self._refused, []
        return refused

    @property
    def any_refused(self) -> bool:
        """Whether something was refused that nobody was told of yet."""
        return bool(self._refused)

    def _gone(self, sent: Sent) -> None:
        self.messages -= sent.count
        self.bytes -= len(sent.frame)
