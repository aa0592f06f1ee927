"""Children for faults of the kernel: forks that fail, processes that do not die."""

import os
import signal

from supervisor import Child, Supervisor


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
        Child("victim", live, backoff=(0.05, 0.2), shutdown=0.2),
    ],
)

steady = Supervisor(
    "steady", intensity=1000, children=[Child("bystander", live), Child("victim", live)]
)
