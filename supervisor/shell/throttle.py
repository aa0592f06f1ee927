"""How much one worker may say: a token bucket of messages, and one of bytes.

A worker that says more is not read for a while: its own sends then find the socket full. Nobody
else waits for it: reading a message costs a supervisor some 20 µs, a flood of them all its time.
"""

#: Messages that may come at once, and per second: 2 % of a processor's time. A work loop beats
#: four times in a heartbeat.
MESSAGES, MESSAGE_RATE = 1000, 1000.0
#: Bytes that may come at once, and per second: the longest traceback is 60 kB.
BYTES, BYTE_RATE = 1 << 20, 256.0 * 1024


class Throttle:
    """What one link has left.

    Args:
        now: monotonic seconds.

    """

    def __init__(self, now: float) -> None:
        self._messages, self._bytes = float(MESSAGES), float(BYTES)
        self._at = now
        self.noted = False  # whether somebody was told that it says too much

    def spend(self, size: int, now: float) -> float:
        """Count one message of ``size`` bytes; returns the seconds to pause before the next."""
        passed = max(0.0, now - self._at)
        self._at = now
        self._messages = min(MESSAGES, self._messages + passed * MESSAGE_RATE) - 1
        self._bytes = min(BYTES, self._bytes + passed * BYTE_RATE) - size
        if self._messages >= 1 and self._bytes > 0:
            return 0.0
        # Not until there is one token: until there are some, or each would cost a wake-up.
        return max((MESSAGES / 10 - self._messages) / MESSAGE_RATE, -self._bytes / BYTE_RATE)
