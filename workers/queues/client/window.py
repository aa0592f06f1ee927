"""How many messages a consumer lets be sent ahead: so many that it never waits, and no more.

Too few, and it waits for the broker between messages; too many, and they wait for it while other
consumers have nothing to do, and come late to another one when it ends. So: as many as it handles
in `TARGET` seconds, by what handling them has taken lately.
"""

#: Seconds of work that are sent ahead.
TARGET = 0.25
#: Messages sent ahead at first, and at most.
FIRST, MOST = 16, 1000
#: Weight of the newest measurement; what is slower than before counts more than what is faster.
WEIGHT, WEIGHT_OF_SLOWER = 0.2, 0.5


class Window:
    """Tunes the window of one consumer.

    Args:
        fixed: so many messages, untuned; 0: tune.
        most: messages at most.

    """

    __slots__ = ("_each", "_fixed", "_most", "messages")

    def __init__(self, fixed: int = 0, most: int = MOST) -> None:
        self._fixed, self._most = fixed, max(1, most)
        self._each = 0.0  # seconds a message, smoothed; 0: not known
        self.messages = fixed or min(FIRST, self._most)

    def measured(self, messages: int, seconds: float) -> bool:
        """Learn what so many messages have taken; True when the window has changed much.

        A change of less than a half is not worth telling the broker.
        """
        if self._fixed or not messages:
            return False
        each = max(seconds / messages, 1e-9)
        weight = WEIGHT_OF_SLOWER if each > self._each else WEIGHT
        self._each = each if not self._each else self._each + weight * (each - self._each)
        wanted = min(self._most, max(1, int(TARGET / self._each)))
        if wanted in (self._most, 1):
            changed = wanted != self.messages
        else:
            changed = not self.messages / 1.5 < wanted < self.messages * 1.5
        if changed:
            self.messages = wanted
        return changed
