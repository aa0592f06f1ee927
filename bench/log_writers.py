"""What writes while logs are measured. As a program: lines of 200 bytes to standard output.

python -S bench/log_writers.py COUNT line|block FILE
"""

import ctypes
import os
import signal
import sys
import time

LINE = b"x" * 199 + b"\n"
BLOCK = 320
PR_SET_PDEATHSIG = 1


def write_lines(count: int, form: str) -> None:
    """Write lines, each with a call of its own, or in blocks of 64,000 bytes."""
    if form == "line":
        write = os.write
        for _ in range(count):
            write(1, LINE)
        return
    for _ in range(count // BLOCK):
        left = memoryview(LINE * BLOCK)
        while left:
            left = left[os.write(1, left) :]


def note(path: str) -> None:
    """Note the time of this moment in a file."""
    with open(path, "a") as file:
        file.write(f"{time.time()}\n")


def main() -> None:
    """Note when it begins, write, and then be idle: nothing is to restart it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed bench leaves us to nobody
    count, form, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    note(path)
    write_lines(count, form)
    note(path)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
