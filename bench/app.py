"""The app that is measured: workers that say when their first line runs, and then sleep for ever.

COUNT in the environment is the number of workers; FIFO the path that they report to.
"""

import os
import signal
import struct
import time

from supervisor import Child, Supervisor

RECORD = struct.Struct("<qq")  # pid, monotonic nanoseconds


def first_line() -> None:
    """Report this moment: the first line of the author's code."""
    now = time.monotonic_ns()
    fd = os.open(os.environ["FIFO"], os.O_WRONLY)
    os.write(fd, RECORD.pack(os.getpid(), now))
    os.close(fd)


def worker() -> None:
    """Be idle."""
    first_line()
    while True:
        signal.pause()


tree = Supervisor(
    "bench",
    [Child("idle", worker, count=int(os.environ.get("COUNT", "1")))],
    intensity=1_000_000,
    period=1,
)
