"""Apps with messages that end whoever handles them."""

import contextlib
import os
import signal
import sys
import threading

from supervisor import Child, Queue, Supervisor
from workers import Batch, CallFailed, Consumer, Producer, open_queue

#: What the queue of an app is fed: `python` numbers, "-" in front of those that kill.
FEED = [int(word) for word in sys.argv[1:]]


class Feeder(Producer):
    """Puts what the command line says, and waits until it is taken."""

    def run(self) -> None:
        """Put it once; what a later incarnation would put again is told by a file."""
        try:
            os.close(os.open(os.environ["FED"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        for number in FEED:
            self.put(number)
        self.flush()


class Caller(Feeder):
    """Calls with the numbers, and does not mind what comes back."""

    def run(self) -> None:
        """Call with each."""
        with open_queue("numbers") as writer:
            for number in FEED:
                with contextlib.suppress(CallFailed):
                    writer.call(number)


class Worker(Consumer):
    """Says what it handles; a negative number ends it."""

    def handle(self, number: int) -> None:
        """Handle one number."""
        print("handling", number, self.attempt, flush=True)
        if number < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Threads(Worker):
    """The same, four at once."""

    threads = 4


class Company(Worker):
    """The same; the others wait a while for the poison to come and take them along."""

    threads = 4

    def handle(self, number: int) -> None:
        """Handle one number."""
        print("handling", number, self.attempt, flush=True)
        if number < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        nobody.wait(0.3)


class Batches(Consumer):
    """The same, in batches."""

    def handle_many(self, batch: Batch[int]) -> None:
        """Handle some numbers."""
        print("handling", *batch, flush=True)
        if any(number < 0 for number in batch):
            os.kill(os.getpid(), signal.SIGKILL)


class Raising(Consumer):
    """The same, with an exception."""

    def handle(self, number: int) -> None:
        """Handle one number."""
        print("handling", number, self.attempt, flush=True)
        if number < 0:
            raise ValueError(number)


class RaisingThreads(Raising):
    """The same, in a thread."""

    threads = 4


class RaisingTasks(Consumer):
    """The same, in a task."""

    async def handle(self, number: int) -> None:
        """Handle one number."""
        print("handling", number, self.attempt, flush=True)
        if number < 0:
            raise ValueError(number)


class ExitingThreads(Consumer):
    """Ends its process from a thread, as Python allows: with an exception."""

    threads = 4

    def handle(self, number: int) -> None:
        """Handle one number."""
        print("handling", number, self.attempt, flush=True)
        if number < 0:
            sys.exit(3)


class Leaving(Consumer):
    """Leaves without a word in the middle of a negative number, the first time it comes."""

    def handle(self, number: int) -> None:
        """Handle one number."""
        print("handling", number, self.attempt, flush=True)
        if number < 0 and self.attempt == 1:
            os._exit(0)


#: Never set.
nobody = threading.Event()

queue = Queue("numbers", 100, max_attempts=8, lease=60.0, retry_backoff=(0.01, 0.02))


def _tree(worker: type[Consumer], feeder: type[Producer] = Feeder) -> Supervisor:
    children = [
        Child("worker", worker, queue=queue, count=2),
        Child("feeder", feeder, queue=queue, restart="transient"),
    ]
    return Supervisor("poison", children, intensity=3, period=60, queues=[queue])


tree = _tree(Worker)
threads = _tree(Threads)
company = _tree(Company)
batches = _tree(Batches)
raising = _tree(Raising)
raising_threads = _tree(RaisingThreads)
raising_tasks = _tree(RaisingTasks)
exiting_threads = _tree(ExitingThreads)
leaving = _tree(Leaving)
# One that is kept: filled by the first, handled by the second.
kept = Queue("numbers", 100, max_attempts=3, retry_backoff=(0.01, 0.02), durable=True)
filling = Supervisor(
    "poison", [Child("feeder", Feeder, queue=kept, restart="transient")], queues=[kept]
)
emptying = Supervisor(
    "poison", [Child("worker", Worker, queue=kept)], intensity=3, period=60, queues=[kept]
)
called = _tree(Raising, Caller)
called_threads = _tree(RaisingThreads, Caller)
