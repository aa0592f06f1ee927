"""Runs ``python -m supervisor.cli.main ARGUMENTS`` with a fault put into root by name."""

import os
import sys
import threading
import time

from supervisor.cli.main import main
from supervisor.root import root


def fail(_self: object) -> None:
    """Raise what nobody expects."""
    raise RuntimeError("a bug of ours")


def block(self: root.Root) -> None:
    """Be away from the sockets for a while."""
    threading.Event().wait(1.3)
    up(self)


class SetClock:
    """The wall clock of this process, set forward by what a file says, in seconds."""

    def __init__(self, path: str) -> None:
        self._true, self._path = time.time, path

    def __call__(self) -> float:
        """Tell the time."""
        with open(self._path) as offset:
            return self._true() + float(offset.read() or 0)


up = root.Root._tree_up
fault = os.environ["FAULT"]
if fault == "clock":
    time.time = SetClock(os.environ["FAKETIME_TIMESTAMP_FILE"])
else:
    root.Root._tree_up = {"fail": fail, "block": block}[fault]  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv = sys.argv[3:]  # less python -m
    sys.exit(main())
