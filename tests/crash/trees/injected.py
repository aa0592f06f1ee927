"""Runs ``python -m supervisor.cli.main ARGUMENTS`` with a fault put into root by name."""

import os
import sys
import threading

from supervisor import root
from supervisor.cli.main import main


def fail(_self: object) -> None:
    """Raise what nobody expects."""
    raise RuntimeError("a bug of ours")


def block(self: root.Root) -> None:
    """Be away from the sockets for a while."""
    threading.Event().wait(1.3)
    up(self)


up = root.Root._tree_up
root.Root._tree_up = {"fail": fail, "block": block}[os.environ["FAULT"]]  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv = sys.argv[3:]  # less python -m
    sys.exit(main())
