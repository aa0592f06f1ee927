"""Work that proves to be alone: each process holds a lock that a second copy would miss."""

import fcntl
import os
import signal
import subprocess
import sys

from supervisor import link

HOLD = """
import fcntl, os, signal, sys
os.setsid()
if sys.argv[2] == "orphan" and os.fork():
    os._exit(0)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    with open(os.environ["MARKS"] + "/copies", "a") as copies:
        copies.write(sys.argv[1] + "\\n")
print("holding", sys.argv[2], os.getpid(), flush=True)
signal.pause()
"""


def path() -> str:
    """Which slot this is."""
    here = link.current()
    assert here is not None
    return here.context.path


def alone(name: str) -> int:
    """Take a lock, or note that another copy lives."""
    marks = os.environ["MARKS"]
    fd = os.open(f"{marks}/{name.replace('/', '-')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with open(f"{marks}/copies", "a") as copies:
            copies.write(f"{name}\n")
    return fd


def quiet() -> None:
    """Do nothing, alone, until stopped."""
    alone(path())
    print("alive", os.getpid(), flush=True)
    while True:
        signal.pause()


def parent() -> None:
    """Have a descendant in another session, and one that nobody is the parent of."""
    alone(path())
    lock = f"{os.environ['MARKS']}/{path().replace('/', '-')}"
    for kind in ("session", "orphan"):
        subprocess.Popen([sys.executable, "-S", "-c", HOLD, f"{lock}.{kind}", kind])
    print("alive", os.getpid(), flush=True)
    while True:
        signal.pause()
