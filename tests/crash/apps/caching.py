"""Workers with caches: one whose loop waits on its link, one that never beats, one that lies."""

from supervisor import Child, Queue, Supervisor
from supervisor.caches import CacheFacts, Caches
from workers import Consumer, Producer, Worker
from workers.cache import Cache

numbers = Queue("numbers", capacity=100)


def load() -> bytes:
    """Load a value."""
    return b"x" * 1000


class Reading(Worker):
    """Asks ten times for the same two keys, and waits."""

    def init(self) -> None:
        """Make the cache."""
        self.prices: Cache[bytes] = Cache("prices", max_bytes="1MiB", ttl=60.0)

    def run(self) -> None:
        """Use it."""
        for number in range(10):
            self.prices.get(number % 2, load)
        while not self.link.wait(0.1):
            pass


class Put(Producer):
    """Puts four numbers."""

    def run(self) -> None:
        """Put, and wait."""
        for number in range(4):
            self.put(number)
        self.flush()
        self.link.wait(1e6)


class Charge(Consumer):
    """Uses a cache for each message, of a queue that is empty then."""

    def init(self) -> None:
        """Make the cache."""
        self.customers: Cache[bytes] = Cache("customers", max_bytes="1MiB", ttl=60.0)

    def handle(self, _message: int) -> None:
        """Look a customer up."""
        self.customers.get("the same", load)


class Lying(Worker):
    """Says more than anybody wants to know."""

    def run(self) -> None:
        """Say it."""
        self.link._say(Caches([CacheFacts("x" * 1000, bytes=n) for n in range(100)]))
        self.link.wait(1e6)


tree = Supervisor(
    "caching",
    queues=[numbers],
    children=[
        Child("reading", Reading, count=2),
        Child("charge", Charge, queue=numbers),
        Child("put", Put, queue=numbers),
        Child("lying", Lying),
    ],
)
