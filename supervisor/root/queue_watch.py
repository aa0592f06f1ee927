"""What root knows of the queues, for its snapshot: what the broker says when it is asked.

A snapshot never waits for long: a broker that does not answer is asked once, and until it has
answered, what it said last has to do.
"""

from collections.abc import Callable

import msgspec

from supervisor.control.messages import QueueAnswer, QueueCommand, Reply
from supervisor.loop import Loop, TimerHandle
from supervisor.observe.snapshot import QueueFacts
from supervisor.root.broker_call import call_broker

#: Seconds that a snapshot waits for the broker.
PATIENCE = 0.25

_decode = msgspec.msgpack.Decoder(list[QueueFacts]).decode
Take = Callable[[list[QueueFacts]], None]


class QueueWatch:
    """Asks the broker for its statistics, one question at a time."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._known: list[QueueFacts] = []
        self._waiting: list[Take] = []
        self._timer: TimerHandle | None = None
        self._asked = False

    def ask(self, path: str | None, take: Take) -> None:
        """Give the statistics to ``take``, once: at the latest after `PATIENCE`.

        Args:
            path: the broker's socket; None: the app has no queues.
            take: takes what the broker says of each queue, now or last.

        """
        if path is None or (self._asked and self._timer is None):
            take(self._known)  # there are none, or the broker is late already
            return
        self._waiting.append(take)
        if not self._asked:
            self._asked = True
            self._timer = self._loop.call_later(PATIENCE, self._tell)
            call_broker(self._loop, path, QueueCommand("stats"), self._answered)

    def _answered(self, reply: Reply) -> None:
        self._asked = False
        if isinstance(reply, QueueAnswer):
            self._known = _decode(reply.body)
        self._tell()

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for take in waiting:
            take(self._known)
