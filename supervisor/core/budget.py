"""Addition to OTP: a budget of starts for a whole tree, at any nesting.

Intensity bounds the restarts of one supervisor, and nested intensities multiply. So root holds one
token bucket for the tree: each restart, wherever it happens, uses a token. A nested supervisor
gets its tokens from its parent, and so from root; what it has not used when it dies is lost, never
made up for. First starts, and starts that somebody has asked for, need none.

There are never more restarts than ``burst + rate * seconds`` since the start, at any nesting; and
in any span of time no more than that, and the spare tokens that nested supervisors held before it.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

#: Tokens that a supervisor asks for beyond those it needs: its next restarts need not wait.
SPARE = 8
#: Tokens of a bucket that is full, at least, and those that come back per second.
BURST = 1000
RATE = 10.0
#: A bucket holds this many tokens for each slot: a whole tree may crash at once, and once more.
BURST_PER_SLOT = 2


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket. ``level``: tokens in it at ``at`` (monotonic seconds); full at first.

    Below 0 it owes what it gave when it was larger: who shrinks and grows a tree by turns gets no
    more tokens by that.
    """

    burst: int
    rate: float
    level: float
    at: float

    def take(self, count: int, now: float) -> tuple["Bucket", int]:
        """Take as many tokens as there are, at most ``count``; returns how many."""
        level = min(float(self.burst), self.level + self.rate * max(0.0, now - self.at))
        taken = max(0, min(count, int(level)))
        return Bucket(self.burst, self.rate, level - taken, max(now, self.at)), taken

    def resized(self, burst: int) -> "Bucket":
        """Make it hold more, or less: what was used of it stays used."""
        return Bucket(burst, self.rate, self.level + burst - self.burst, self.at)

    @property
    def wait(self) -> float:
        """Seconds after ``at`` until there is a token."""
        return max(0.0, (1.0 - self.level) / self.rate)


def burst_of(slots: int, least: int = BURST) -> int:
    """Return what the bucket of a tree with so many slots holds."""
    return max(least, BURST_PER_SLOT * slots)


def full(slots: int, now: float, burst: int = BURST, rate: float = RATE) -> Bucket:
    """Make the bucket of a tree with so many slots."""
    size = burst_of(slots, burst)
    return Bucket(size, rate, float(size), now)


class Budget:
    """The tokens that one supervisor process has, and those who wait for them.

    ``spare``: tokens to ask for beyond those that are wanted; none at root, which has the bucket.

    Whoever changes it then asks two questions: who gets tokens now (`grants`), and how many are to
    be got from above (`shortage`).
    """

    def __init__(self, spare: int = SPARE) -> None:
        self.tokens = 0
        self._spare = spare
        self._asked = 0
        self._waiting: deque[tuple[Hashable, int]] = deque()

    @property
    def waiting(self) -> int:
        """Tokens that are wanted and not there."""
        return sum(count for _, count in self._waiting)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for tokens."""
        return bool(self._waiting)

    def want(self, who: Hashable, count: int = 1) -> None:
        """Somebody needs tokens."""
        self._waiting.append((who, count))

    def withdraw(self, who: Hashable) -> None:
        """Somebody does not wait any more."""
        self._waiting = deque(one for one in self._waiting if one[0] != who)

    def add(self, tokens: int) -> None:
        """Tokens have come from above."""
        self.tokens += tokens
        self._asked = max(0, self._asked - tokens)

    def grants(self) -> list[tuple[Hashable, int]]:
        """Hand out tokens: to each what it wants, or, when they are short, one by one in turn."""
        granted: list[tuple[Hashable, int]] = []
        plenty = self.tokens >= self.waiting
        while self._waiting and self.tokens:
            who, count = self._waiting.popleft()
            given = count if plenty else 1
            self.tokens -= given
            granted.append((who, given))
            if given < count:
                self._waiting.append((who, count - given))
        return granted

    def shortage(self) -> int:
        """Count the tokens to ask for now; they count as asked for from then on."""
        missing = self.waiting - self.tokens - self._asked
        if missing <= 0:
            return 0
        self._asked += missing + self._spare
        return missing + self._spare
