"""An app with a queue: its consumer fails on what it is told to fail on."""

import os
from typing import Any

from supervisor import Child, Queue, Supervisor
from workers import Consumer
from workers.log import log

orders = Queue("orders", capacity=50, max_attempts=1, durable="process", dedupe_by="id")


class Handle(Consumer):
    """Prints what it handles."""

    def handle(self, order: dict[str, Any]) -> None:
        """Print it, or fail."""
        if order.get("fail") and not os.path.exists(os.environ["FIXED"]):
            raise ValueError(f"order {order['n']} cannot be handled")
        log.info("handled", n=order["n"])


tree = Supervisor(
    "shop", intensity=100, queues=[orders], children=[Child("handle", Handle, queue=orders)]
)
