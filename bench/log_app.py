"""The apps whose logs are measured.

`capture`: a command that writes lines (WRITER, its arguments). `records`: WORKERS workers that each
log RECORDS records through structlog; `killed`: the same, each counting in the file COUNTS what it
has logged.
"""

import mmap
import os
import signal
import struct
import sys

from bench.log_writers import note
from supervisor import Child, Supervisor
from workers.log import log

#: Records of a worker that is going to be killed.
MOST = 20_000
WORKERS = int(os.environ.get("WORKERS", "1"))


def records() -> None:
    """Log so many records, then be idle."""
    note(os.environ["NOTES"])
    for number in range(int(os.environ["RECORDS"])):
        log.info("charged", order=number, amount=12.5)
    note(os.environ["NOTES"])
    while True:
        signal.pause()


def endless() -> None:
    """Log much, then be idle; what was logged is counted outside of this process."""
    with open(os.environ["COUNTS"], "r+b") as file:
        page = mmap.mmap(file.fileno(), 0)
    number, pid = 0, os.getpid()
    place = pid % (len(page) // 16) * 16
    while number < MOST:
        number += 1
        log.info("charged", number=number, writer=pid)
        struct.pack_into("<qq", page, place, pid, number)
    while True:
        signal.pause()


capture = Supervisor(
    "bench",
    [Child("writer", command=[sys.executable, "-S", *os.environ.get("WRITER", "").split()])],
)
workers = Supervisor("bench", [Child("worker", records, count=WORKERS)])
killed = Supervisor(
    "bench", [Child("worker", endless, count=WORKERS)], intensity=1_000_000, period=1
)
