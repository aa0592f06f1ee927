"""The dead letters of a queue: bounded; full, they hold the queue up instead of losing any."""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from workers.queues.core.dead_letter import DeadLetter


class DeadLetters:
    """Letters by number, the oldest first.

    A queue delivers nothing while they are `full`: what was delivered before can still die, so
    there may be as many more as messages were leased at that moment.

    Args:
        most: letters that are kept.
        max_bytes: bytes of messages that are kept.
        max_age: seconds after which a letter is discarded; None: never.

    """

    def __init__(self, most: int, max_bytes: int, max_age: float | None) -> None:
        self.most, self._max_bytes, self._max_age = most, max_bytes, max_age
        self._letters: OrderedDict[int, DeadLetter] = OrderedDict()
        self._bytes = 0
        self.last = 0
        self.full = False  # no more should die

    def next_number(self) -> int:
        """Return the number of the next letter."""
        self.last += 1
        return self.last

    def add(self, letter: DeadLetter) -> None:
        """Keep a letter."""
        self._letters[letter.id] = letter
        self._weigh(len(letter.message))

    def restore(self, letters: Iterable[DeadLetter], last: int) -> None:
        """Keep what the store has kept; ``last``: the highest number that one ever had."""
        for letter in letters:
            self.add(letter)
        self.last = max(last, *self._letters, 0) if self._letters else last

    def page(self, offset: int, limit: int) -> list[DeadLetter]:
        """Return some, the oldest first."""
        return list(islice(self._letters.values(), offset, offset + limit))

    def get(self, number: int) -> DeadLetter | None:
        """Return one."""
        return self._letters.get(number)

    def remove(self, number: int) -> DeadLetter | None:
        """Remove one, and return it."""
        letter = self._letters.pop(number, None)
        if letter is not None:
            self._weigh(-len(letter.message))
        return letter

    def _weigh(self, size: int) -> None:
        self._bytes += size
        self.full = len(self._letters) >= self.most or self._bytes >= self._max_bytes

    def overdue(self, now: float) -> DeadLetter | None:
        """Return the oldest letter if it is to be discarded for its age."""
        if self._max_age is None or not self._letters:
            return None
        oldest = next(iter(self._letters.values()))
        return oldest if oldest.died + self._max_age <= now else None

    def next_at(self) -> float | None:
        """When the oldest letter has to be discarded; None: never."""
        if self._max_age is None or not self._letters:
            return None
        return next(iter(self._letters.values())).died + self._max_age

    def __len__(self) -> int:
        """Count them."""
        return len(self._letters)
