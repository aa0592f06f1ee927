"""Two supervisors full of workers that end at once, again and again, and one that does not."""

import os
import signal

from supervisor import Child, Supervisor


def end() -> None:
    """Crash."""
    os._exit(1)


def live() -> None:
    """Do nothing until stopped."""
    while True:
        signal.pause()


def crashing(name: str) -> Supervisor:
    """Declare a supervisor that lets its children crash without end."""
    return Supervisor(name, [Child("crash", end, count=3)], intensity=1_000_000)


tree = Supervisor(
    "looping",
    intensity=1_000_000,
    children=[Child("steady", live), Child("crash", end), crashing("one"), crashing("two")],
)

calm = Supervisor("calm", [Supervisor("inner", [Child("w", live, count=5)])], intensity=1_000_000)
