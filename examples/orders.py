"""A queue that survives its consumers: one order is poisonous, all others are charged.

Run: supervisor run examples.orders:tree
See: order 7 kills its consumer five times and becomes a dead letter; nothing else is lost.
"""

import os
from collections.abc import Iterator

from supervisor import Child, Queue, Supervisor
from workers import Consumer, Producer
from workers.log import log

orders = Queue("orders", capacity=100, max_attempts=5)


class Intake(Producer):
    def produce(self) -> Iterator[dict[str, int]]:
        yield from ({"order": number} for number in range(1, 21))


class Charge(Consumer):
    def handle(self, message: dict[str, int]) -> None:
        if message["order"] == 7:
            os.abort()
        log.info("charged", order=message["order"], attempt=self.attempt)


tree = Supervisor("shop", strategy="rest_for_one", intensity=10, queues=[orders], children=[
    Child("charge", Charge, queue=orders, count=2),
    Child("intake", Intake, queue=orders, restart="temporary"),
])  # fmt: skip
