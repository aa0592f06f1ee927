"""What root itself says to whoever started it, wherever that has gone meanwhile."""

import os

STDERR = 2


def say(text: str) -> None:
    """Write a line to standard error. A terminal that hung up is no reason to fail."""
    try:
        os.write(STDERR, f"supervisor: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass
