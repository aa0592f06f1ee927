"""Fair queues: the keys take turns, so that a flood under one key does not hold up another.

Deficit round robin in its surplus form (Shreedhar and Varghese, 1995): in its turn a key is given
`QUANTUM` messages of credit, and sends chunks while it has any; what a chunk was larger than the
credit is taken off its next turns. A key without messages has no turn, and no credit.

Bound: before a message at the head of its key leaves, at most `QUANTUM + MAX_CHUNK - 1` messages of
each other key that has any leave, as chunks have at most `MAX_CHUNK` messages. What had left before
it came is not in that: of each consumer, its window.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from workers.queues.core.chunk import Chunk
from workers.queues.core.limits import Rate
from workers.queues.core.waiting import Fifo

#: Messages a key may send in its turn.
QUANTUM = 32
#: Messages in one chunk of a fair queue, at most.
MAX_CHUNK = 32
#: Rates of keys without messages are not worth a sweep before there are so many.
MANY_RATES = 1000
#: Keys that are looked at to find the oldest message.
SOME_KEYS = 1000


class _Key:
    """What waits under one key."""

    __slots__ = ("credit", "fifo", "rate")

    def __init__(self, rate: Rate | None) -> None:
        self.fifo = Fifo()
        self.credit = 0
        self.rate = rate


class Fair:
    """Serves keys in turns, in order within a key.

    Args:
        make_rate: makes the rate of a key; None: keys have none. A key that has used up its rate
            is passed over.

    """

    def __init__(self, make_rate: Callable[[], Rate] | None = None) -> None:
        self._make_rate = make_rate
        self._rates: dict[str, Rate] = {}
        self._many = MANY_RATES
        self._keys: dict[str, _Key] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()  # the first one has its turn
        self._resting: list[tuple[float, str]] = []  # have used up their rate, until then

    def append(self, chunk: Chunk) -> None:
        """Add a new chunk behind those of its key."""
        self._of(chunk.key).fifo.append(chunk)

    def give_back(self, chunks: Sequence[Chunk]) -> None:
        """Add chunks before the others of their keys."""
        for chunk in reversed(chunks):
            self._of(chunk.key).fifo.give_back((chunk,))

    def next(self, now: float) -> Chunk | None:
        """Show the next chunk of the key whose turn it is."""
        while self._resting and self._resting[0][0] <= now:
            name = heapq.heappop(self._resting)[1]
            if name in self._keys:
                self._turns[name] = None
        while self._turns:
            name = next(iter(self._turns))
            key = self._keys[name]
            chunk = key.fifo.next()
            if chunk is None:
                self._retire(name)
            elif key.rate is not None and not key.rate.allowed(now):
                del self._turns[name]
                heapq.heappush(self._resting, (key.rate.ready_at(), name))
            elif key.credit <= 0:
                key.credit += QUANTUM
                self._turns.move_to_end(name)
            else:
                return chunk
        return None

    def allowance(self, now: float) -> float:
        """As the rate of its key says."""
        rate = self._shown().rate
        return math.inf if rate is None else rate.allowed(now)

    def take(self, now: float) -> None:
        """Remove it, at the cost of its key."""
        key = self._shown()
        chunk = key.fifo.next()
        assert chunk is not None
        key.fifo.take()
        key.credit -= chunk.left
        if key.rate is not None:
            key.rate.spend(chunk.left, now)
            self._sweep(now)
        if not len(key.fifo):
            self._retire(next(iter(self._turns)))
        elif key.credit <= 0:
            key.credit += QUANTUM
            self._turns.move_to_end(next(iter(self._turns)))

    def replace(self, parts: Sequence[Chunk]) -> None:
        """Put parts in its place."""
        self._shown().fifo.replace(parts)

    def victim(self) -> Chunk | None:
        """Show the oldest of the key that has the most."""
        most = max(self._keys.values(), key=lambda one: one.fifo.left, default=None)
        return None if most is None else most.fifo.victim()

    def forget(self, chunk: Chunk) -> None:
        """Tell its key."""
        key = self._keys.get(chunk.key)
        if key is not None:
            key.fifo.forget(chunk)

    def wakes_at(self) -> float:
        """When the first key may send again."""
        return self._resting[0][0] if self._resting else math.inf

    def oldest(self) -> float:
        """The oldest of the keys, or of a thousand of them."""
        some = islice(self._keys.values(), SOME_KEYS)
        return min((key.fifo.oldest() for key in some), default=math.inf)

    def __iter__(self) -> Iterator[Chunk]:
        """Go through all, key by key."""
        return (chunk for key in self._keys.values() for chunk in key.fifo)

    def _shown(self) -> _Key:
        return self._keys[next(iter(self._turns))]

    def _of(self, name: str) -> _Key:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = _Key(self._rate_of(name))
            key.credit = QUANTUM
            self._turns[name] = None
        return key

    def _rate_of(self, name: str) -> Rate | None:
        """Return the rate of a key, which outlives what waits under it."""
        if self._make_rate is None:
            return None
        if name not in self._rates:
            self._rates[name] = self._make_rate()
        return self._rates[name]

    def _retire(self, name: str) -> None:
        """A key has nothing left."""
        del self._turns[name]
        del self._keys[name]

    def _sweep(self, now: float) -> None:
        """Forget the rates of keys that have sent nothing for long, when they are many."""
        if len(self._rates) < self._many:
            return
        self._rates = {
            name: rate
            for name, rate in self._rates.items()
            if name in self._keys or not rate.idle(now)
        }
        self._many = MANY_RATES + 2 * len(self._rates)
