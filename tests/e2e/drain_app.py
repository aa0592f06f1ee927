"""An app whose producer never stops: its consumer passes on what it gets to a second queue."""

import os

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer, open_queue

orders = Queue("orders", capacity=50)
bills = Queue("bills", capacity=50)


class Feed(Producer):
    """Puts numbers for ever."""

    def run(self) -> None:
        """Put the next one."""
        number = 0
        while not self.link.interrupted:
            self.put(number)
            number += 1


class Bill(Consumer):
    """Passes orders on."""

    def init(self) -> None:
        """Open what they are passed to."""
        self.bills = open_queue("bills")

    def handle(self, order: int) -> None:
        """Pass one on."""
        self.bills.put(order, confirm=True)


class Send(Consumer):
    """Writes down what comes through."""

    def init(self) -> None:
        """Open the file."""
        self.file = os.open(os.environ["SENT"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def handle(self, bill: int) -> None:
        """Write one down."""
        os.write(self.file, b"%d\n" % bill)


tree = Supervisor(
    "shop",
    queues=[orders, bills],
    children=[
        Child("send", Send, queue=bills),
        Child("bill", Bill, queue=orders),
        Child("feed", Feed, queue=orders),
    ],
)
