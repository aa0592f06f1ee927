"""Twenty workers, a queue and a nested supervisor: all the parts of the runtime."""

import signal
import socket
import subprocess
import threading

from marks import quiet

from supervisor import Child, Queue, Supervisor, link

PAUSE = threading.Event()


def beats() -> None:
    """Say often that the work goes on."""
    count = 0
    while not link.stopping():
        count += 1
        link.beat(count)
        PAUSE.wait(0.05)


#: Nothing that counts for intensity may happen here.
strict = Supervisor("flat", [
    Child("w", quiet, count=19),
    Supervisor("inner", [Child("x", quiet)], intensity=0),
], intensity=0, queues=[Queue("orders")])  # fmt: skip

#: Nobody takes what is put.
kept = Supervisor(
    "kept", [Child("w", quiet)], intensity=20, queues=[Queue("orders", durable="process")]
)

beating = Supervisor("beating", [Child("w", beats, count=10, heartbeat=0.5)], intensity=0)
hundred = Supervisor("hundred", [Child("w", quiet, count=100)], intensity=1000)
two_hundred = Supervisor("two_hundred", [Child("w", quiet, count=200)], intensity=1000)
three = Supervisor("three", [Child("w", quiet)], intensity=3, period=60)


def leave_behind() -> None:
    """Have a descendant in a session of its own."""
    subprocess.Popen(["setsid", "sleep", "1000"])
    while True:
        signal.pause()


def accept() -> None:
    """Listen on the port that says that this is ready."""
    with socket.create_server(("127.0.0.1", PORT)):
        quiet()


def notify() -> None:
    """Say that this is ready."""
    link.ready()
    quiet()


others = Supervisor("others", [
    Child("ours", leave_behind),
    Child("theirs", leave_behind, user="nobody"),
], intensity=3, period=3600)  # fmt: skip

#: Taken once by the tree's own process, so that it is free when the workers run.
with socket.create_server(("127.0.0.1", 0)) as _free:
    PORT = _free.getsockname()[1]

ways = Supervisor("ways", [
    Child("notify", notify, ready="notify"),
    Child("port", accept, ready=f"tcp:{PORT}"),
    Child("exec", command=["sleep", "1000"]),
], intensity=3, period=3600)  # fmt: skip


def busy_tree(strategy: str) -> Supervisor:
    """Declare a tree that commands and signals rain upon."""
    below = [Child("x", quiet, count=2)]
    inner = Supervisor("inner", below, strategy=strategy, intensity=1_000_000)
    children = [Child("w", quiet, count=3), inner]
    return Supervisor("busy", children, strategy=strategy, intensity=1_000_000)


busy = busy_tree("one_for_one")
busy_group = busy_tree("rest_for_one")
