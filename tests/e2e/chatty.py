"""An app that talks in every way there is, as often as it is told to."""

import logging
import os
import sys
import threading
import warnings

from supervisor import Child, Supervisor
from workers.log import get_logger

log = get_logger("talk", shop="north")


def talk() -> None:
    """Say the same things again and again."""
    pause = threading.Event()
    number = 0
    while True:
        number += 1
        log.info("tick", number=number)
        log.debug("detail", number=number)
        logging.getLogger("old").warning("from logging %d", number)
        print(f"printed {number}")
        pause.wait(0.02)


def once() -> None:
    """Say one thing of each kind, then nothing."""
    log.info("structured", order=7)
    logging.getLogger("old").error("classic", extra={"order": 8})
    warnings.warn("careful", stacklevel=1)
    print("out")
    print("err \x1b[31mred\x1b[0m", file=sys.stderr)
    sys.stderr.flush()
    os.write(1, b"no newline")
    threading.Event().wait()


tree = Supervisor(
    "shop",
    [
        Child("once", once),
        Child("talk", talk, count=2),
        Supervisor("inner", [Child("deep", talk)]),
    ],
)
