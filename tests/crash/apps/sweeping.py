"""A consumer to be killed at every system call, and another that must not notice."""

import os

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer

SITE = os.environ.get("SITE", ".")  # where the test has made the pipes


class Takes(Consumer):
    """Does its work: one line for each message, into a file that outlives it."""

    def init(self) -> None:
        """Open the file."""
        self.done = os.open(f"{SITE}/done", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def handle(self, number: int) -> None:
        """Write which queue and message it was, and the attempt."""
        slot = self.link.context.path.rpartition("/")[2]
        os.write(self.done, f"{slot} {number} {self.attempt}\n".encode())


class Feeds(Producer):
    """Puts the numbers that come through a pipe."""

    def run(self) -> None:
        """Put until the pipe is closed."""
        name = self.link.context.path.rpartition("/")[2].partition(".")[0]
        with open(f"{SITE}/{name}") as numbers:
            for line in numbers:
                self.put(int(line))
                self.flush()


queues = [Queue("swept"), Queue("other")]

tree = Supervisor(
    "sweeping",
    intensity=1000,
    queues=queues,
    children=[
        Child("victim", Takes, queue=queues[0]),
        Child("bystander", Takes, queue=queues[1]),
        Child("feed-swept", Feeds, queue=queues[0], shutdown="brutal_kill"),
        Child("feed-other", Feeds, queue=queues[1], shutdown="brutal_kill"),
    ],
)
