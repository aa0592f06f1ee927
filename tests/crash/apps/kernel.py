"""Children for faults of the kernel: forks that fail, processes that do not die."""

import os
import signal
import threading

from supervisor import Child, Supervisor, link


def live() -> None:
    """Do nothing until stopped."""
    print("pid", os.getpid(), flush=True)
    while True:
        signal.pause()


tree = Supervisor(
    "kernel",
    intensity=1000,
    children=[
        Child("bystander", live),
        Child("victim", live, backoff=(0.05, 0.2), shutdown=0.2, start_timeout=0.6),
    ],
)


def beat() -> None:
    """Work in order."""
    count, pause = 0, threading.Event()
    while not link.stopping():
        count += 1
        link.beat(count)
        pause.wait(0.05)


#: A victim whose standstill is seen.
beating = Supervisor(
    "kernel",
    intensity=2,
    period=3600,
    children=[Child("bystander", live), Child("victim", beat, heartbeat=0.5, start_timeout=0.6)],
)

#: One failure of the victim is all that may happen.
strict = Supervisor(
    "strict",
    intensity=1,
    period=3600,
    children=[
        Child("bystander", live),
        Child("victim", live),
        Child("program", command=["sleep", "1000"]),
    ],
)

nested = Supervisor(
    "nested", [Supervisor("inner", [Child("x", live, count=3)])], intensity=1, period=3600
)

#: A supervisor that is not waited for.
hasty = Supervisor(
    "hasty",
    intensity=1000,
    children=[Supervisor("inner", [Child("x", live, count=2)], shutdown=0.2)],
)

steady = Supervisor(
    "steady", intensity=1000, children=[Child("bystander", live), Child("victim", live)]
)
