"""Twenty workers, a queue and a nested supervisor: all the parts of the runtime."""

import threading

from marks import quiet

from supervisor import Child, Queue, Supervisor, link

PAUSE = threading.Event()


def beats() -> None:
    """Say often that the work goes on."""
    count = 0
    while not link.stopping():
        count += 1
        link.beat(count)
        PAUSE.wait(0.05)


#: Nothing that counts for intensity may happen here.
strict = Supervisor("flat", [
    Child("w", quiet, count=19),
    Supervisor("inner", [Child("x", quiet)], intensity=0),
], intensity=0, queues=[Queue("orders")])  # fmt: skip

beating = Supervisor("beating", [Child("w", beats, count=10, heartbeat=0.5)], intensity=0)
hundred = Supervisor("hundred", [Child("w", quiet, count=100)], intensity=1000)
three = Supervisor("three", [Child("w", quiet)], intensity=3, period=60)
