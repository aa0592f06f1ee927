"""How many messages a consumer lets be sent ahead: so many that it never waits, and no more.

Too few, and it waits for the broker between messages; too many, and they wait for it while other
consumers have nothing to do, and come late to another one when it ends. So: as many as it handles
in `TARGET` seconds, by what handling them has taken lately. What is sent ahead goes before a light
key that comes later: so where keys take turns, it is less.

Some of these, the burst, it handles in no time: sooner than another process can be woken, about.
Up to so many may be sent to it while others have nothing to do. So a handler that takes long now
and then has none: one long message is remembered for a while.
"""

#: Seconds of work that are sent ahead.
TARGET = 0.25
#: Of queues whose keys take turns.
FAIR_TARGET = 0.05
#: Seconds that are no time.
NO_TIME = 0.0005
#: Messages sent ahead at first, and at most.
FIRST, MOST = 16, 1000
#: Seconds that nobody waits for a processor, as a rule: so long takes a message.
LONG = 0.02
#: Measurements for which that is remembered.
WARY = 200
#: Messages of a burst at most: fits the header of a frame.
MOST_OF_BURST = 0xFFFF
#: Weight of the newest measurement; what is slower than before counts more than what is faster.
WEIGHT, WEIGHT_OF_SLOWER = 0.2, 0.5


class Window:
    """Tunes the window of one consumer.

    Args:
        fixed: so many messages, untuned; 0: tune.
        most: messages at most.
        together: messages that are handled as one: a burst is no less.
        lanes: messages that are worked on at once: the window is no less.
        fair: whether the keys of the queue take turns.

    """

    __slots__ = (
        "_each",
        "_fixed",
        "_least",
        "_most",
        "_target",
        "_together",
        "_usual",
        "_wary",
        "burst",
        "messages",
    )

    def __init__(
        self,
        fixed: int = 0,
        most: int = MOST,
        together: int = 1,
        *,
        lanes: int = 1,
        fair: bool = False,
    ) -> None:
        self._fixed, self._most = fixed, max(1, most)
        self._least = min(lanes, self._most)
        self._target = FAIR_TARGET if fair else TARGET
        self._together = min(together, MOST_OF_BURST)
        self._each = 0.0  # seconds a message, smoothed; 0: not known
        self._usual = 0.0  # the same, in small steps: one spell without a processor is one
        self._wary = 0  # measurements for which there is no burst
        self.messages = fixed or min(max(FIRST, lanes), self._most)
        self.burst = 0  # not known yet

    def measured(self, messages: int, seconds: float) -> bool:
        """Learn what so many messages have taken; True when window or burst have changed much.

        Less than a half more or less is not worth telling the broker; of a burst, up to twice or
        down to a quarter of it.
        """
        if not messages:
            return False
        each = max(seconds / messages, 1e-9)
        weight = WEIGHT_OF_SLOWER if each > self._each else WEIGHT
        usual = self._usual or each
        self._usual = min(max(each, usual / 2), usual * 2)
        self._wary = WARY if seconds >= LONG else max(0, self._wary - 1)
        self._each = each if not self._each else self._each + weight * (each - self._each)
        wanted = self._fixed or self._wanted()
        burst = 0 if self._wary else min(wanted, MOST_OF_BURST, int(NO_TIME / self._usual))
        burst = max(burst, self._together)
        if wanted in (self._most, self._least):
            changed = wanted != self.messages
        else:
            changed = not self.messages / 1.5 < wanted < self.messages * 1.5
        if burst != self.burst:
            changed = changed or burst == self._together
            changed = changed or not self.burst / 4 < burst < self.burst * 2
        if changed:
            self.messages, self.burst = wanted, burst
        return changed

    def _wanted(self) -> int:
        """Say how many are to be sent ahead; of batches, one that does not take too long."""
        batch = min(self._together, int(TARGET / self._each))
        return min(self._most, max(self._least, batch, int(self._target / self._each)))
