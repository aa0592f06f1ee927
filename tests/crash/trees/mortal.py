"""An app that ends by itself once all its numbers are done, whatever happens to it on the way."""

import os
import threading
from pathlib import Path

from marks import parent
from tally import COUNT, note, noted

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer

MARKS = Path(os.environ["MARKS"])
CONFIRMED, DONE = MARKS / "confirmed", MARKS / "done"
#: Seconds between two looks at what is done.
LOOK = 0.01


class Feeds(Producer):
    """Puts what is not noted as confirmed, and notes it."""

    def run(self) -> None:
        """Put one after the other."""
        for number in sorted(set(range(COUNT)) - noted(CONFIRMED)):
            self.put(number, confirm=True)
            note(CONFIRMED, number)


class Takes(Consumer):
    """Notes what it gets."""

    def handle(self, number: int) -> None:
        """Note one."""
        note(DONE, number)


def finish() -> None:
    """Wait until everything is done."""
    never = threading.Event()
    while len(noted(CONFIRMED)) < COUNT or len(noted(DONE)) < COUNT:
        never.wait(LOOK)


queue = Queue("numbers", durable="process")
tree = Supervisor(
    "mortal",
    [
        Supervisor("inner", [Child("escaping", parent)]),
        Child("feeds", Feeds, queue=queue, restart="transient"),
        Child("takes", Takes, queue=queue),
        Child("finish", finish, restart="transient", significant=True),
    ],
    auto_shutdown="any_significant",
    queues=[queue],
)
