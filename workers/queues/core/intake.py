"""What is taken in: whether a put fits, waits, is refused, or takes the place of what is oldest."""

from collections.abc import Mapping

from supervisor.definition import QueueDefinition
from workers.queues.core.books import Books
from workers.queues.core.burial import Burial
from workers.queues.core.chunk import Chunk
from workers.queues.core.dedupe import Window
from workers.queues.core.journal import Remembered
from workers.queues.core.leases import Consumer
from workers.queues.core.shedding import Shedder
from workers.queues.core.stock import Stock
from workers.queues.frames import Options

#: What `admits` says of a put that is to be parked until there is room.
WAIT = "wait"
#: Of one whose key was accepted before.
DUPLICATE = "duplicate"


class Intake:
    """Decides over puts. ``closed``: nothing is taken in (the queue is being drained).

    ``held``: nothing either, but who can wait is held back instead of being refused.
    """

    def __init__(
        self,
        definition: QueueDefinition,
        books: Books,
        stock: Stock,
        burial: Burial,
        shedder: Shedder | None,
        consumers: Mapping[int, Consumer],
    ) -> None:
        self._definition, self._books = definition, books
        self._stock, self._burial = stock, burial
        self._consumers, self.shedder = consumers, shedder
        self.closed = self.held = False
        self.window = Window(definition.dedupe_window)

    @property
    def shut(self) -> bool:
        """Whether nothing is taken in, whatever it is."""
        return self.closed or self.held

    def admits(self, count: int, size: int, extra: Options | None, now: float) -> str:
        """Return "" if a chunk can be put now, `WAIT` if it has to wait, else why it is refused."""
        if self.shut:
            waits = self._definition.overflow == "block" and not self.closed
            return WAIT if waits else "closed"
        if extra is not None and self._is_known(extra.dedupe, now):
            return DUPLICATE
        if self.shedder is not None:
            left = extra.ttl if extra is not None and extra.ttl else self._definition.ttl or 0.0
            if self.shedder.refuses(self._books.ready, left, now):
                return "shed"
        if self._books.fits(count, size):
            return ""
        match self._definition.overflow:
            case "block":
                return WAIT
            case "drop_oldest":
                if self._can_fit(count, size):
                    self._drop(count, size)
                    return ""
        return "full"

    def remember(self, chunk: Chunk, now: float) -> None:
        """A chunk was taken in."""
        if chunk.extra is not None and chunk.extra.dedupe:
            until = self.window.add(chunk.extra.dedupe, now)
            self._books.note(Remembered(chunk.extra.dedupe, until, chunk.id))

    def forget(self, chunk: Chunk) -> None:
        """A chunk was not taken in after all."""
        if chunk.extra is not None and chunk.extra.dedupe:
            self.window.forget(chunk.extra.dedupe)

    def _is_known(self, key: str, now: float) -> bool:
        return bool(key) and self.window.holds(key, now)

    def _can_fit(self, count: int, size: int) -> bool:
        """Whether a chunk would fit if all that nobody has were dropped."""
        books, consumers = self._books, self._consumers.values()
        if sum(one.held for one in consumers) + count > books.capacity:
            return False
        if books.bytes + size <= books.max_bytes:
            return True
        held = sum(chunk.size for one in consumers for chunk in one.leased.values())
        return held + size <= books.max_bytes

    def _drop(self, count: int, size: int) -> None:
        """Drop what nobody has, the oldest first, message by message, until a chunk fits."""
        books = self._books
        while not books.fits(count, size):
            victim = self._stock.victim()
            assert victim is not None
            surplus = books.depth + count - books.capacity
            if books.bytes + size > books.max_bytes or surplus >= victim.left:
                self._burial.drop(victim, "dropped")
                self._stock.withdrawn(victim)
            else:
                books.counts.dropped += books.shorten(victim, surplus)
